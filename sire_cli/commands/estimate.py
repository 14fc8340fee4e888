"""``sire estimate``."""

from typing import Annotated, Any

import typer

from sire.client.models.definition import define_model
from sire.protocol.replies import DeviceFit, EstimateReport
from sire.protocol.requests import Estimate
from sire.units import format_bytes
from sire_cli.daemon_connection import connect
from sire_cli.options.model_options import takes_model_options
from sire_cli.terminal.output import AsJson, print_json, print_message, print_table

_COLUMNS = ("PATH", "FORMAT", "WEIGHTS>", "DEVICE", "NEEDS>", "SOURCE", "FREE>", "FITS")


@takes_model_options("runtime", "model_class", "args", "device")
def estimate(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Model files or directories.")],
    options: dict[str, Any],
    json: AsJson = False,
) -> None:
    """Estimate the memory models need on each device. They need not be registered.

    A model whose content was loaded before has a measured size. For others the headers are read,
    and no code in the files is run: not even that of a .py file. A class of your own, --class, is
    asked as well: for its own estimate, or for the size of a PyTorch module's weights. Each model
    fits now, after idle models are evicted, after busy ones have had their turn, not while others
    hold the memory, or never.
    """
    with connect() as connection:
        reports = []
        for path in paths:
            defined = define_model("estimate", path, options, place=lambda option: option.flag)
            request = Estimate(model=defined.spec, explicit=defined.explicit)
            reports.append(connection.expect(EstimateReport, request))
    for report in reports:
        if report.problem:
            print_message(
                f"{report.path}: estimated from its size; its code gave no answer. {report.problem}"
            )
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
