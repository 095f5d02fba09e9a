"""Optional libraries for some formats, loaded when a file needs one.

A missing library and an installed library that fails to start have different messages.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from retriever.reading.pages import error_text
from retriever.types import ReadError
from retriever.version import install_command

EXTRAS: dict[str, dict[str, str]] = {
    "ocr": {"PIL": "Pillow"},
    "markup": {"docutils": "docutils", "striprtf": "striprtf"},
    "office": {
        "pptx": "python-pptx",
        "openpyxl": "openpyxl",
        "python_calamine": "python-calamine",
        "msoffcrypto": "msoffcrypto-tool",
    },
}
"""What each extra of the package brings: modules, and the names pip knows them by."""


def load(module: str, extra: str, what: str) -> ModuleType:
    """Import the module, or raise a ReadError that says what needs it and how to install it.

    `what` begins the sentence, in the plural: "PowerPoint files".
    """
    library = EXTRAS.get(extra, {}).get(module, module)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == module.split(".")[0]:
            raise ReadError(f"{what} need {library}: {install_command(extra)}") from None
        raise ReadError(_broken_reason(what, library, error)) from None
    except ImportError as error:
        raise ReadError(_broken_reason(what, library, error)) from None


def _broken_reason(what: str, library: str, error: ImportError) -> str:
    return f"{what} need {library}, which does not start ({error_text(error)}): install it again"


def is_missing(reason: str) -> bool:
    """Whether `reason` says that an extra is missing."""
    return any(install_command(extra) in reason for extra in EXTRAS)


def is_mended(reason: str) -> bool:
    """Whether `reason` says that an extra is missing, which is installed now."""
    return any(install_command(extra) in reason for extra in installed_extras())


def installed_extras() -> tuple[str, ...]:
    """The extras whose libraries are all installed, sorted."""
    return tuple(
        sorted(extra for extra, modules in EXTRAS.items() if all(map(_is_installed, modules)))
    )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
