"""The `medsam` command: the table of verbs, and the one border where errors become a line and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

from medsam import __version__
from medsam.errors import MedsamError, OutputError, PromptError, hide_credentials

SEGMENT, DATA, TRAIN, SYSTEM = (
    Group(name, sort_key=i) for i, name in enumerate(("Segment", "Data", "Train", "System"))
)
EVERYWHERE = Group("Every verb", sort_key=9)


@dataclass(frozen=True)
class Verb:
    """One verb: where it is, a line about it, its group and an example; its module loads only when it is asked for."""

    target: str
    summary: str
    group: Group
    example: str


def _verb_of(name: str, group: Group, summary: str, example: str, target: str | None = None) -> Verb:
    return Verb(f"medsam.cli.{name}:{target or name}", summary, group, f"medsam {name} {example}".strip())


VERBS = {
    verb.target.partition(":")[0].rpartition(".")[2]: verb
    for verb in (
        _verb_of("segment", SEGMENT, "Segment images from boxes and points.",
                 "liver.nii.gz --modality CT --window soft-tissue --slice 40 --box 95,255,190,350 -o mask.nii.gz"),
        _verb_of("annotate", SEGMENT, "Segment a 3D scan from sparse long- and short-axis markers.",
                 "ct_folder/ --markers axes.mrk.json -o tumor.dcm"),
        _verb_of("measure", SEGMENT, "Volume, longest diameter and its perpendicular of each lesion.",
                 "tumor.dcm --reference ct_folder/"),
        _verb_of("view", SEGMENT, "Draw a slice with pixel coordinates, to read a box from.",
                 "liver.nii.gz --modality CT --window soft-tissue --slice 40 -o look.png"),
        _verb_of("project", SEGMENT, "Projects of annotations: new, add, list, export, report, agreement.", "list study/", "app"),
        _verb_of("open", SEGMENT, "Draw on scans in the browser, with the model's help.", "study/", "open_"),
        _verb_of("serve", SEGMENT, "Serve scans and the model over HTTP.", "study/", "app"),
        _verb_of("info", SEGMENT, "What a file holds and what medsam would do with it.", "liver.nii.gz"),
        _verb_of("convert", DATA, "Convert masks and images between formats.", "tumor.dcm tumor.seg.nrrd"),
        _verb_of("pacs", DATA, "Query a PACS over DICOMweb, fetch series, store results.",
                 "query dicomweb://pacs:8042/dicom-web --modality CT", "app"),
        _verb_of("cards", DATA, "List and check data set cards.", "--modality CT", "app"),
        _verb_of("curate", DATA, "Turn data sets into a training store.", "kvasir-seg busi --root data/ -o store/"),
        _verb_of("store", DATA, "Look into a store: info, check, browse, export.", "info store/", "app"),
        _verb_of("subset", DATA, "Nested subsets of a store for the data-size study.", "store/ --size 1000 --size 10000"),
        _verb_of("train", TRAIN, "Train a model by a recipe; the paper's protocol is the default.",
                 "--config recipes/paper.toml -o run/"),
        _verb_of("finetune", TRAIN, "Fine-tune a model on a folder of images and masks.", "images/ masks/ -o run/"),
        _verb_of("runs", TRAIN, "List and compare training runs.", "run/"),
        _verb_of("evaluate", TRAIN, "Models against expert masks, all asked with the same prompts.", "data/us_mixed -o scores/"),
        _verb_of("report", TRAIN, "Tables, figures and worst cases of evaluations as one page.", "run/ -o report/"),
        _verb_of("study", TRAIN, "The paper's studies by a recipe: prepare, train, evaluate, report.",
                 "external --recipe recipes/study-two-cores.toml -o study/"),
        _verb_of("baseline", TRAIN, "Train the paper's comparators: U-Net and DeepLabV3+ of one modality or task.",
                 "train unet data/us_mixed --modality US -o unet-us/", "app"),
        _verb_of("simulate", TRAIN, "Draw markers from an expert mask and measure what annotate makes of them.",
                 "scan.nii.gz expert.nii.gz --modality MR --every 3 5 -o simulated/"),
        _verb_of("models", SYSTEM, "List, fetch, verify, import and convert models.", "list", "app"),
        _verb_of("doctor", SYSTEM, "What is installed, what is missing, and the line that mends it.", ""),
        _verb_of("demo", SYSTEM, "Segment real images and make one picture of them.", "-o demo/"),
        _verb_of("completion", SYSTEM, "Print a script that completes the command in a shell.", "bash"),
    )
}  # fmt: skip

INTERRUPTED = 130  # the shell's code for SIGINT
Setting = Annotated[bool, Parameter(negative=(), group=EVERYWHERE)]


def build_app() -> App:
    """The command with its verbs, none of them imported yet; build_app().meta takes the flags of every verb too."""
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
    for name, verb in VERBS.items():
        app.command(verb.target, name=name, help=f"{verb.summary}\n\nExample: {verb.example}", group=verb.group)

    app.meta.suppress_keyboard_interrupt = False  # the border turns it into a line

    @app.meta.default
    def launch(
        *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        json: Setting = False,
        quiet: Setting = False,
        verbose: Setting = False,
        log_file: Annotated[Path | None, Parameter(group=EVERYWHERE)] = None,
        threads: Annotated[int | None, Parameter(group=EVERYWHERE)] = None,
    ) -> object:
        """Run a verb.

        Args:
            words: The verb and what it takes.
            json: Answer in JSON on standard output.
            quiet: Say nothing but what was asked for, and errors.
            verbose: Say also what goes well.
            log_file: File to append the log to.
            threads: Threads of the arithmetic; all cores without it.
        """
        from medsam.cli.terminal import Terminal, limit_threads, logging_to

        if threads is not None:
            if threads < 1:
                raise PromptError(f"threads are {threads}", expected="1 or more", fix="pass --threads 4")
            limit_threads(threads)
        if log_file is not None and not log_file.absolute().parent.is_dir():
            raise OutputError(f"{log_file} has no folder", expected="a folder that exists", fix="name another file")
        command, bound, missing = app.parse_args(words)
        given = {name: Terminal(json=json, quiet=quiet) for name in missing}
        with logging_to(quiet=quiet, verbose=verbose, file=log_file):
            return command(*bound.args, **bound.kwargs, **given)

    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 well, 1 bad input or a failed run, 2 wrong usage, 3 done but some inputs were at fault, 130 interrupted."""
    # Threads that wait asleep: spinning ones made an encode several times slower on a machine that does other work too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run one command line and give its exit code; errors become one line on standard error."""
    verb = f"{arguments[0]} " if arguments and arguments[0] in VERBS else ""
    return finish(lambda: build_app().meta(join_numbers(arguments)), verb)


def finish(call: Callable[[], object], verb: str = "") -> int:
    """Make a call and give the exit code it ends with; what went wrong becomes one line on standard error."""
    from cyclopts import CycloptsError

    try:
        result = call()
    except MedsamError as error:
        return _fail(f"medsam: {error.got}; expected {error.expected}; {error.fix}", 1)
    except CycloptsError as error:
        text = " ".join(str(error).split())
        return _fail(f"medsam: {text} See `medsam {verb}--help`.", 2)
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


def join_numbers(words: Sequence[str]) -> list[str]:
    """Join the numbers that follow --box or --point one by one: "--box 1 2 3 4" is "--box 1,2,3,4"."""
    joined: list[str] = []
    for word in words:
        flag = joined[-2] if len(joined) > 1 else ""
        if flag in ("--box", "--point") and _is_number(word) and all(map(_is_number, joined[-1].split(","))):
            joined[-1] += f",{word}"
        else:
            joined.append(word)
    return joined


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _fail(line: str, code: int) -> int:
    print(hide_credentials(" ".join(line.split())), file=sys.stderr)
    return code
