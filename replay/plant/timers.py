"""The next event: a tournament (winner tree) over the stations' timers.

`winner` is a binary tree in an array: node i has children 2i and 2i + 1, the leaves are the
stations in order, and each node names the station of its subtree that is due first; so
`winner[1]` is the next event. Setting one timer replays only the matches above its leaf.
"""

from __future__ import annotations

from replay.plant.state import Stations


def set_timer(stations: Stations, station: int, due_seconds: float) -> None:
    """Make `station` due at that time; equal times are served in order of station number."""
    due, winner = stations.due_seconds, stations.winner
    if due[station] == due_seconds:
        return
    due[station] = due_seconds
    node = (station + len(due)) >> 1
    while node > 0:
        best = winner[2 * node]
        other = winner[2 * node + 1]
        if due[other] < due[best]:
            best = other
        if winner[node] == best and best != station:
            return  # the matches above are between others
        winner[node] = best
        node >>= 1


def replay_all(stations: Stations) -> None:
    """Play the whole tournament, after the number of stations has changed."""
    due, winner = stations.due_seconds, stations.winner
    leaves = len(due)
    for station in range(leaves):
        winner[leaves + station] = station
    for node in range(leaves - 1, 0, -1):
        left, right = winner[2 * node], winner[2 * node + 1]
        winner[node] = right if due[right] < due[left] else left
