"""Which frameworks the worker of a model imports, told without importing any of them."""

from sire.spec import ModelSpec
from sired.runtimes.discovery import all_traits


def runtimes_needed(spec: ModelSpec, *, on_gpu: bool = False) -> frozenset[str]:
    """The runtimes that the fork server should import for a model, besides those it always does.

    On a GPU, ONNX Runtime uses the CUDA libraries that PyTorch loads, and classes mostly do.
    """
    by_name = {traits.name: traits for traits in all_traits()}
    if (own := by_name.get(spec.runtime)) is None:
        return frozenset()
    others = set(own.also_imports(spec)) if own.also_imports else set[str]()
    if on_gpu and not own.out_of_process:
        others.add("pytorch")
    known = (by_name[name] for name in (own.name, *others) if name in by_name)
    return frozenset(
        traits.name for traits in known if traits.preload in ("first", "when_registered")
    )
