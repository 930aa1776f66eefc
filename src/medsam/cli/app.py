"""The `medsam` command: the table of verbs, and the one border where errors become a line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from cyclopts import App

from medsam import __version__
from medsam.errors import MedsamError

# verb -> (module:function, one line of help); a module loads only when its verb is asked for
VERBS = {
    "segment": ("medsam.cli.segment:segment", "Segment images from boxes and points."),
    "annotate": ("medsam.cli.annotate:annotate", "Segment a 3D scan from sparse long- and short-axis markers."),
    "measure": ("medsam.cli.measure:measure", "Volume, longest diameter and its perpendicular of each lesion."),
    "convert": ("medsam.cli.convert:convert", "Convert masks and images between formats."),
    "info": ("medsam.cli.info:info", "What a file holds and what medsam would do with it."),
    "pacs": ("medsam.cli.pacs:app", "Query a PACS over DICOMweb, fetch series, store results."),
    "models": ("medsam.cli.models:app", "List, fetch, verify, import and convert models."),
    "evaluate": ("medsam.cli.evaluate:evaluate", "Dice and NSD of a model on images with expert masks."),
    "simulate": (
        "medsam.cli.simulate:simulate",
        "Draw markers from an expert mask and measure what annotate makes of them.",
    ),
    "curate": ("medsam.cli.curate:curate", "Turn data sets into a training store."),
    "subset": ("medsam.cli.subset:subset", "Nested subsets of a store for the data-size study."),
    "store": ("medsam.cli.store:app", "Look into a store: info, check, browse, export."),
    "cards": ("medsam.cli.cards:app", "List and check data set cards."),
    "train": ("medsam.cli.train:train", "Train a model by a recipe; the paper's protocol is the default."),
    "finetune": ("medsam.cli.finetune:finetune", "Fine-tune a model on a folder of images and masks."),
    "runs": ("medsam.cli.runs:runs", "List and compare training runs."),
    "doctor": ("medsam.cli.doctor:doctor", "What is installed, what is missing, and the line that mends it."),
    "demo": ("medsam.cli.demo:demo", "Segment real images and make one picture of them."),
}

INTERRUPTED = 130  # the shell's code for SIGINT


def build_app() -> App:
    """The command with its verbs, none of them imported yet."""
    app = App(
        name="medsam",
        help="Segment medical images from prompts: boxes and points in, masks with true geometry out.",
        version=__version__,
        help_format="plaintext",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    for verb, (target, summary) in VERBS.items():
        app.command(target, name=verb, help=summary)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 well, 1 bad input or a failed run, 2 wrong usage, 3 done but some inputs were at fault, 130 interrupted."""
    # Threads that wait asleep: spinning ones made an encode several times slower on a machine that does other work too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run one command line and give its exit code; errors become one line on standard error."""
    from cyclopts import CycloptsError

    try:
        result = build_app()(arguments)
    except MedsamError as error:
        return _fail(f"medsam: {error.got}; expected {error.expected}; {error.fix}", 1)
    except CycloptsError as error:
        text = " ".join(str(error).split())
        return _fail(f"medsam: {text} See `medsam {_verb(arguments)}--help`.", 2)
    except BrokenPipeError:  # the reader of a pipe has seen enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" at {error.filename}" if error.filename else ""
        return _fail(
            f"medsam: no space left on the disk{where}; expected room to write; free some, then run it again", 1
        )
    except MemoryError:
        return _fail(
            "medsam: out of memory; expected an image that fits; crop or split it, or take a larger machine", 1
        )
    except KeyboardInterrupt:
        return _fail("medsam: interrupted; what was finished is kept", INTERRUPTED)
    return result if isinstance(result, int) else 0


def _verb(arguments: list[str]) -> str:
    return f"{arguments[0]} " if arguments and arguments[0] in VERBS else ""


def _fail(line: str, code: int) -> int:
    print(" ".join(line.split()), file=sys.stderr)
    return code
