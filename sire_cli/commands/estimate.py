"""``sire estimate``."""

from typing import Annotated

import typer

from sire.client.models.definition import describe_model
from sire.protocol.replies import DeviceFit, EstimateReport
from sire.protocol.requests import Estimate
from sire.units import format_bytes
from sire_cli.link import connect
from sire_cli.options.arguments import DeviceName, ModelArguments, ModelClass, parse_arguments
from sire_cli.terminal.output import AsJson, print_json, print_table, say

_COLUMNS = ("PATH", "FORMAT", "WEIGHTS>", "DEVICE", "NEEDS>", "SOURCE", "FREE>", "FITS")


def estimate(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Model files or directories.")
    ],
    runtime: Annotated[
        str, typer.Option("--runtime", help="What loads them; auto tells from the file.")
    ] = "auto",
    model_class: ModelClass = None,
    arg: ModelArguments = [],  # noqa: B006 (read only)
    device: DeviceName = "auto",
    json: AsJson = False,
) -> None:
    """Tell what models would need on each device, and whether they fit, before registering them.

    What earlier loads of the same content were measured to need is known; of others the headers are
    read, and nothing in the files is run. Code of your own, a .py file or a class that is named, is
    asked besides: its own estimate, or what a PyTorch module's weights will take. They fit now,
    after eviction of idle models or of others when they have had their turn, not now while others
    hold the memory, or never.
    """
    args = parse_arguments(arg)
    with connect() as connection:
        reports = []
        for path in paths:
            model = describe_model(
                "estimate", path, runtime, model_class=model_class, args=args, device=device
            )
            reports.append(connection.expect(EstimateReport, Estimate(model=model)))
    for report in reports:
        if report.problem:
            say(f"The size of {report.path} counts, for its code cannot be asked. {report.problem}")
    if json:
        print_json(reports)
    else:
        print_table(_COLUMNS, [_row(report, fit) for report in reports for fit in report.devices])


def _row(report: EstimateReport, fit: DeviceFit) -> tuple[str, ...]:
    return (
        report.path,
        report.format or report.runtime,
        format_bytes(report.weight_bytes),
        fit.device,
        format_bytes(fit.need_bytes),
        fit.source,
        format_bytes(fit.free_bytes),
        _fits(fit),
    )


def _fits(fit: DeviceFit) -> str:
    if fit.evicts:
        return f"after eviction of {', '.join(fit.evicts)}"
    return fit.fits.replace("-", " ")
