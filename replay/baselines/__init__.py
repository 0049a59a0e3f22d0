"""How others scale, each in one small file over the same interface, so that comparing is fair."""
