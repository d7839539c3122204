"""The map of addresses, loop by loop: plain functions on graphs of any shape."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from forwarding.routes import End, RouteMap, Stop

NAMES = st.sampled_from("abcdefgh")
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, max_size=4).map(tuple), max_size=8)


def route_map(graph: dict[str, tuple[str, ...]]) -> RouteMap:
    """Return the map of a graph; what is no key of it ends there."""
    return RouteMap({name: Stop(End.FORWARD, leads) for name, leads in graph.items()})


def edges(graph: dict[str, tuple[str, ...]], name: str) -> list[str]:
    """Return where a name leads; a copy for itself is no way onward."""
    return [onward for onward in graph.get(name, ()) if onward != name]


def reachable(graph: dict[str, tuple[str, ...]], start: str) -> set[str]:
    """Return every name a walk of any length comes to."""
    seen = {start}
    for _round in range(len(graph) + 1):
        seen |= {onward for name in seen for onward in edges(graph, name)}
    return seen


def is_on_circle(graph: dict[str, tuple[str, ...]], name: str) -> bool:
    """Whether a walk from a name comes back to it."""
    return any(name in reachable(graph, onward) for onward in edges(graph, name))


@given(GRAPHS, NAMES)
def test_loop_is_found_exactly_where_there_is_one(
    graph: dict[str, tuple[str, ...]], start: str
) -> None:
    there_is_one = any(is_on_circle(graph, name) for name in reachable(graph, start))
    loop = route_map(graph).loop_from(start)
    assert (loop is not None) == there_is_one
    if loop is not None:
        assert loop[0] == loop[-1]
        assert len(set(loop)) == len(loop) - 1 > 1
        assert all(after in edges(graph, before) for before, after in pairwise(loop))


@given(GRAPHS, NAMES)
def test_everything_that_is_reached_is_known(graph: dict[str, tuple[str, ...]], start: str) -> None:
    assert route_map(graph).reached_from(start) == reachable(graph, start)


@given(GRAPHS, NAMES)
def test_steps_are_the_longest_way_without_a_loop(
    graph: dict[str, tuple[str, ...]], start: str
) -> None:
    routes = route_map(graph)
    if routes.loop_from(start) is not None:
        return
    names, steps = {start}, -1
    while names:
        names = {onward for name in names for onward in edges(graph, name)}
        steps += 1
    assert routes.steps_from(start) == steps


def test_wide_map_without_a_loop_is_walked_in_no_time() -> None:
    layers = [[f"n{level}x{index}" for index in range(20)] for level in range(11)]
    graph = {name: tuple(below) for above, below in pairwise(layers) for name in above}
    routes = route_map(graph)
    assert routes.loop_from("n0x0") is None
    assert routes.steps_from("n0x0") == 10
    assert len(routes.reached_from("n0x0")) == 201
