"""Series from snapshots, with a clock that the tests turn: rates, errors, percentiles, bounds."""

import pytest

from gateway.observe.meters import BUCKETS, RouteMeter
from gateway.observe.metrics import Metrics
from gateway.observe.record import Record
from gateway.observe.time_series import INTERVALS, MAX_MEMORY, MAX_ROUTES, SeriesQuery, TimeSeries, percentile_ms

START = 1_800_000_000.0


class Scene:
    """Meters of a process, and their series at `now`."""

    def __init__(self) -> None:
        self.now = START
        self.metrics = Metrics("1")
        self.series = TimeSeries()
        self.series.add(self.now, self.metrics.snapshot())

    def route(self, name: str = "orders") -> RouteMeter:
        return self.metrics.route(name)

    def call(self, route: str = "orders", *, error: str | None = None, seconds: float = 0.02, count: int = 1) -> None:
        for _ in range(count):
            self.route(route).begun += 1
            self.route(route).ended.append(
                Record(
                    method="GET",
                    status=200 if error is None else 502,
                    error=error,
                    duration_ms=seconds * 1000,
                    upstream_ms=seconds * 1000,
                )
            )

    def turn(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.series.add(self.now, self.metrics.snapshot())


def test_each_second_has_its_calls_errors_and_percentiles() -> None:
    scene = Scene()
    scene.call(count=99)
    scene.call(seconds=0.9, error="upstream-timeout")
    scene.turn()
    scene.route().begun += 1
    scene.turn(1.5)
    series = scene.series.read(SeriesQuery("route", "orders"), scene.now)
    assert series.times == (START + 1, START + 2.5)
    assert series.seconds == (1.0, 1.5)
    assert series.calls == (100, 0)
    assert series.errors == {"upstream": (1, 0)}
    assert series.in_flight == (0, 1)
    assert series.p99_ms[0] is not None
    assert 10 < series.p99_ms[0] <= 25
    assert series.p50_ms[1] is None
    assert scene.series.read(SeriesQuery(), scene.now).calls == (100, 0)
    assert scene.series.read(SeriesQuery(since=START + 1), scene.now).calls == (0,)


def test_ten_seconds_are_one_interval_of_the_long_series() -> None:
    scene = Scene()
    for _ in range(20):
        scene.call(seconds=0.02)
        scene.call(seconds=4.0)
        scene.turn()
    series = scene.series.read(SeriesQuery(step=10), scene.now)
    assert series.calls == (20, 20)
    assert series.seconds == (10.0, 10.0)
    assert series.p95_ms[0] is not None
    assert 2500 < series.p95_ms[0] <= 5000


def test_a_service_sums_its_routes_and_shows_its_places() -> None:
    scene = Scene()
    scene.series.configure({"orders": "acme", "stock": "acme", "other": "lab"})
    scene.metrics.watch_services(
        lambda: (
            ("service_calls_running", ("acme",), 3),
            ("service_calls_waiting", ("acme",), 2),
            ("service_calls_limit", ("acme",), 5),
        )
    )
    for route, count in (("orders", 2), ("stock", 3), ("other", 7)):
        scene.call(route, count=count)
    scene.turn()
    series = scene.series.read(SeriesQuery("service", "acme"), scene.now)
    assert (series.calls, series.running, series.waiting, series.limit) == ((5,), (3,), (2,), (5,))
    lab = scene.series.read(SeriesQuery("service", "lab"), scene.now)
    assert (lab.calls, lab.running, lab.limit) == ((7,), (), ())
    scene.series.configure({"orders": "acme"})
    assert scene.series.read(SeriesQuery("service", "lab"), scene.now).times == ()


def test_old_intervals_are_overwritten() -> None:
    scene = Scene()
    for number in range(1000):
        scene.call(count=number % 7)
        scene.turn()
    series = scene.series.read(SeriesQuery(), scene.now)
    assert len(series.times) == 900
    assert series.times == tuple(START + 101 + number for number in range(900))
    assert series.calls == tuple(number % 7 for number in range(100, 1000))
    scene.now += 600  # a machine that was suspended
    assert len(scene.series.read(SeriesQuery(), scene.now).times) == 300


def test_a_busier_route_replaces_the_least_busy_one() -> None:
    scene = Scene()
    for number in range(MAX_ROUTES):
        scene.call(f"route-{number}", count=10 + number)
    scene.turn()
    scene.call("late", count=15)
    scene.turn(10)
    assert scene.series.read(SeriesQuery("route", "late"), scene.now).times == ()
    scene.call("late", count=100)
    scene.turn(10)
    scene.turn(10)
    assert scene.series.read(SeriesQuery("route", "late"), scene.now).times
    assert scene.series.read(SeriesQuery("route", "route-0"), scene.now).times == ()
    assert scene.series.read(SeriesQuery("route", "route-49"), scene.now).times


def test_a_sample_of_many_routes_is_added_in_small_pieces() -> None:
    scene = Scene()
    for number in range(500):
        scene.call(f"route-{number}", count=2)
    scene.now += 1
    pieces = sum(1 for _ in scene.series.add_in_pieces(scene.now, scene.metrics.snapshot()))
    assert pieces > 3 * 500
    assert scene.series.read(SeriesQuery(), scene.now).calls == (1000,)


def test_a_lost_worker_makes_no_negative_rate() -> None:
    scene = Scene()
    scene.call(count=50)
    scene.turn()
    scene.metrics = Metrics("1")
    scene.call(count=2)
    scene.turn()
    scene.call(count=3)
    scene.turn()
    assert scene.series.read(SeriesQuery(), scene.now).calls == (50, 0, 3)
    scene.now -= 3600
    scene.turn(0)
    scene.call()
    scene.turn()
    assert scene.series.read(SeriesQuery(since=scene.now - 0.5), scene.now).calls[-1] == 1


def test_a_day_of_busy_routes_and_services_stays_below_the_bound() -> None:
    scene = Scene()
    scene.series.configure({f"route-{number}": f"service-{number}" for number in range(60)})
    scene.metrics.watch_services(
        lambda: (
            (f"service_calls_{column}", (f"service-{number}",), 1)
            for column in ("running", "waiting", "limit")
            for number in range(60)
        )
    )
    for number in range(60):
        for error in ("bad-request", "internal", "token-refused", "upstream-timeout"):  # one for each blame
            scene.call(f"route-{number}", error=error)
    for _ in range(40):
        scene.turn(10)
    lengths = [len(scene.series.read(SeriesQuery(step=step), scene.now).times) for step in INTERVALS]
    assert lengths == [40, 40]
    whole = scene.series.memory / sum(lengths) * sum(INTERVALS.values())
    assert 30 * 1024 * 1024 < whole < MAX_MEMORY


@pytest.mark.parametrize(
    ("durations", "share", "expected"),
    [
        ({0.001: 1}, 0.5, 0.5),
        ({0.025: 100}, 0.5, 17.5),
        ({0.025: 90, 1.0: 10}, 0.9, 25.0),
        ({0.025: 90, 1.0: 10}, 0.95, 750.0),
        ({400.0: 1}, 0.5, 330_000.0),
    ],
)
def test_percentiles_are_estimated_within_buckets(durations: dict[float, int], share: float, expected: float) -> None:
    counts = [float(durations.get(bound, 0)) for bound in BUCKETS] + [float(durations.get(400.0, 0))]
    assert percentile_ms(counts, share) == pytest.approx(expected)
