"""The command `davinci`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from davinci_sim.errors import DavinciError, InternalError
from experiments.cli.experiments import experiment
from experiments.cli.kernel import kernel
from experiments.cli.output import examples, note
from experiments.cli.platform import platform
from experiments.cli.simulate import simulate
from experiments.cli.train import train

WRONG_USAGE, INTERRUPTED = 2, 130


class Commands(click.Group):
    """A group whose mistakes end in one message, never in a traceback."""

    # Any: click's own signature.
    def main(  # type: ignore[override]  # never returns, whatever standalone_mode says
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command and leave with its exit code."""
        extra["standalone_mode"] = False
        run = super().main
        sys.exit(exit_code(lambda: run(args, prog_name, **extra)))


def exit_code(run: Callable[[], Any]) -> int:
    """Run a command and return its exit code; a mistake of the user gets one message and code 2."""
    try:
        code = run()
    except click.ClickException as error:
        error.show()
        return WRONG_USAGE
    except DavinciError as error:
        note(f"error: {error}")
        return WRONG_USAGE
    except MemoryError:
        note("error: this machine has too little memory for that; use a smaller shape, or --no-data")
        return WRONG_USAGE
    except (click.Abort, KeyboardInterrupt):
        note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left; leave quietly, too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from experiments.user_files import place_of

        if isinstance(error, InternalError) or not (place := place_of(error)):
            raise  # a mistake of ours: the traceback is what we need
        note(f"error: {type(error).__name__}: {error}\n  {place}\n  next: mend that line")
        return WRONG_USAGE
    return code if isinstance(code, int) else 0


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "davinci platform ascend910a",
        "davinci kernel run matmul --shape m=256,k=256,n=256",
        "davinci simulate resnet50 --train --batch 32",
        "davinci train lenet5 --data digits --device ascend910a",
        "davinci experiment run demo",
    ),
)
@click.version_option(package_name="davinci-kit", prog_name="davinci")
def cli() -> None:
    """Hardware-software co-design for Ascend (Da Vinci) processors.

    A simulator of the chip, tiled kernels that run on it, and a framework that compiles networks onto it.
    Every command takes --json. Exit code 0: done; 1: what was asked about failed; 2: wrong input.
    """


for _command in (platform, kernel, simulate, train, experiment):
    cli.add_command(_command)


def main() -> NoReturn:
    """Run `davinci` with the arguments of the process."""
    cli.main(prog_name="davinci")


if __name__ == "__main__":
    main()
