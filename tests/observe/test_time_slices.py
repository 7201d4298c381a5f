"""Long work on a loop, in turns with everything else."""

import asyncio

from gateway.observe.time_slices import free_in_slices


class Slow:
    """An object that a turn is too short to free many of."""

    def __init__(self, freed: list[int]) -> None:
        self._freed = freed

    def __del__(self) -> None:
        self._freed.append(sum(range(20_000)))


async def test_objects_are_freed_in_turns() -> None:
    freed: list[int] = []
    objects: list[object] = [Slow(freed) for _ in range(200)]
    task = asyncio.create_task(free_in_slices(objects))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert (len(freed), objects) == (200, [])
    assert turns > 3
