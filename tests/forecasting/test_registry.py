import sys

import pytest

from forecasting.registry import BUILT_IN, forecasters
from policies.config import ForecastSettings


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that registers the given entry point."""

    def install(line):
        (tmp_path / "my_models.py").write_text(
            "class Mine:\n    name = 'mine'\n\n    def fit(self, series, target): ...\n\n"
            "class Namesake(Mine):\n    name = 'ets'\n\nnothing = 3\n\n"
            "class Broken:\n    def __init__(self): raise KeyError('licence')\n"
        )
        metadata = tmp_path / "my_models-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-models\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[pd_planner.forecasters]\n{line}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "my_models", raising=False)

    return install


def test_names_are_unique():
    names = [model.name for model in BUILT_IN]
    assert len(set(names)) == len(names)


def test_a_model_of_ones_own_is_found(package):
    package("mine = my_models:Mine")
    assert [model.name for model in forecasters()][-1] == "mine"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("other = my_models:Namesake", "there is a model 'ets' already"),
        ("nothing = my_models:nothing", "gives no Forecaster"),
        ("gone = my_models:Gone", "gone = my_models:Gone cannot be loaded: AttributeError"),
        ("other = no_such_package:Mine", "cannot be loaded: ModuleNotFoundError"),
        ("broken = my_models:Broken", "cannot be loaded: KeyError: 'licence'"),
    ],
)
def test_a_wrong_entry_point_is_named(package, line, says):
    package(line)
    with pytest.raises(ValueError, match=says):
        forecasters()


def test_a_broken_package_that_is_not_asked_for_harms_nobody(package):
    package("broken = my_models:Broken")
    assert ForecastSettings(models=("ets",)).models == ("ets",)
    assert forecasters(("ets", "sarimax")) == BUILT_IN
    with pytest.raises(ValueError, match="broken = my_models:Broken cannot be loaded"):
        ForecastSettings(models=("mine",))
