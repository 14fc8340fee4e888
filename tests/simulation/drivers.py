"""GPUs whose driver misbehaves: they vanish, return, appear, answer late and report falsely."""

from random import Random

from sired.scheduler import events
from tests.simulation.world import World


class Drivers:
    """Changes at random what the drivers of a simulated machine report.

    Args:
        later: devices, each with its bytes, that appear while the machine runs.
    """

    def __init__(self, random: Random, world: World, later: tuple[tuple[str, int], ...]) -> None:
        self._random = random
        self._world = world
        self._later = list(later)

    def act(self) -> None:
        """Change the state of one GPU, and have it reported."""
        world = self._world
        gpu = self._random.choice([name for name in world.devices if name != "cpu"])
        for names in (world.lost, world.silent, world.late):
            names.discard(gpu)
        match self._random.randrange(7):
            case 0:
                world.lost.add(gpu)
            case 1:
                world.silent.add(gpu)
            case 2 | 3:
                world.late.add(gpu)
            case 4 if self._later:
                self._appear()
        world.lies = self._random.random() < 0.3
        world.sample()

    def _appear(self) -> None:
        name, size = self._later.pop(0)
        self._world.devices[name], self._world.foreign[name] = size, 0
        self._world.feed(events.DeviceAdded(name, "cuda", size))

    def recover(self) -> None:
        """Have every GPU report truly again."""
        for names in (self._world.lost, self._world.silent, self._world.late):
            names.clear()
        self._world.lies = False
        self._world.sample()
