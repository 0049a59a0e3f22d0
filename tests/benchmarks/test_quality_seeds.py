"""Several seeds are told by their mean and their worst."""

from quality_seeds import over_seeds


def row(policy: str, attained: float, flaps: int, bound: float | None) -> dict:
    return {
        "trace": "steps",
        "startup_seconds": 120.0,
        "profile_error": -0.2,
        "policy": policy,
        "joint_attainment": attained,
        "gpu_hours": 10.0,
        "gpu_hours_over_bound": bound,
        "scaling_events_per_hour": 4.0,
        "flaps": flaps,
        "drain_seconds": 30.0,
    }


def test_a_place_is_one_line_of_mean_and_worst():
    rows = [row("coupled", 0.9, 0, 1.5), row("hpa", 0.5, 9, None), row("coupled", 0.8, 3, None)]
    _, ours, theirs = over_seeds(rows)
    assert ours.startswith("| steps | 120 | -20% | coupled | 2 | 85.00% (80.00%) | 10.00 (10.00) |")
    assert "| 1.50 (1.50) | 4.0 (4.0) | 1.5 (3.0) | 30 (30) |" in ours
    assert "| hpa | 1 | 50.00% (50.00%) | 10.00 (10.00) | - |" in theirs
