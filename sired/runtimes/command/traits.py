"""What the runtime ``command`` can do."""

from sire.spec import ModelSpec
from sired.runtimes.command.arguments import Program, check_path
from sired.runtimes.traits import RuntimeTraits


def _check_path(spec: ModelSpec) -> ModelSpec:
    if "cmd" in spec.args:
        check_path(spec.args["cmd"], spec.args.get("env", {}), spec.path)
    return spec


TRAITS = RuntimeTraits(
    name="command",
    implementation="sired.runtimes.command.runtime:CommandRuntime",
    arguments=Program,
    file="optional",
    out_of_process=True,
    serves_http=True,
    concurrent=True,
    batches=False,
    preload="always",
    on_register=_check_path,
)
