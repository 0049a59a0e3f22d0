"""Replicas that start, drain and go."""

import numpy as np
import pytest

from policies.types import PerRole, Role
from replay.physics import Physics, Router
from replay.plant import Plant
from replay.requests import Requests
