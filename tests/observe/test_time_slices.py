"""Long work on a loop is done in slices."""

import asyncio

from gateway.observe.time_slices import free_in_slices


class SlowToFree:
    """An object whose destructor takes long."""

    def __init__(self, freed: list[int]) -> None:
        self._freed = freed

    def __del__(self) -> None:
        self._freed.append(sum(range(20_000)))


async def test_objects_are_freed_in_slices() -> None:
    freed: list[int] = []
    objects: list[object] = [SlowToFree(freed) for _ in range(200)]
    task = asyncio.create_task(free_in_slices(objects))
    steps = 0
    while not task.done():
        await asyncio.sleep(0)
        steps += 1
    assert (len(freed), objects) == (200, [])
    assert steps > 3
