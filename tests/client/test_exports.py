from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import clipserve
import pytest
from clipserve import errors

ROOT = Path(__file__).parents[2]
HEAVY = (
    "PIL",
    "pyarrow",
    "torch",
    "click",
    "rich",
    "clipserve_gateway",
    "clipserve.tools.cli",
    "clipserve.tools.evaluation",
)

EXPORTED = {
    "AliasNotFound",
    "AlreadyExists",
    "BatchError",
    "Cancelled",
    "Classification",
    "ClassifyResult",
    "Client",
    "ClientNotUsable",
    "ClipserveError",
    "Collection",
    "CollectionExists",
    "CollectionHasAliases",
    "CollectionNotFound",
    "Conflict",
    "DeadlineExceeded",
    "DimensionMismatch",
    "EmbedResult",
    "EmbeddingFormat",
    "ExactPixels",
    "F",
    "FailedPoint",
    "FailedPrecondition",
    "Filter",
    "FingerprintMismatch",
    "Hit",
    "ImageError",
    "ImageFormatUnsupported",
    "ImageLike",
    "ImageRules",
    "ImageTooLarge",
    "ImageUnreadable",
    "IndexOptions",
    "IndexStatus",
    "InferenceFailed",
    "InputWarning",
    "InternalError",
    "InvalidArgument",
    "InvalidEmbedding",
    "InvalidFilter",
    "InvalidInput",
    "InvalidPayload",
    "LabelScore",
    "LabelSet",
    "LabelSetInfo",
    "LabelSetNotFound",
    "LabelWarning",
    "LabelsWarning",
    "LimitExceeded",
    "Limits",
    "Migration",
    "MigrationConflict",
    "ModelInfo",
    "ModelNotFound",
    "ModelRef",
    "ModelUnavailable",
    "NamedLabelSet",
    "NeighborOverlap",
    "NoneOfTheAbove",
    "NotFound",
    "Overloaded",
    "Payload",
    "PayloadValue",
    "PermissionDenied",
    "Point",
    "PointExists",
    "PointNotFound",
    "RateLimited",
    "ResourceExhausted",
    "RetryPolicy",
    "ScoreStatistics",
    "SearchResult",
    "ServerInfo",
    "SourcesNotKept",
    "StorageFailed",
    "StorageUnavailable",
    "StoreNotWritable",
    "StoredPoint",
    "Thumbnail",
    "Tls",
    "TokenFile",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "UpsertResult",
    "Violation",
    "Weighted",
    "__version__",
    "dequantize",
    "label_set",
    "parse_filter",
}


def test_the_public_names_are_these_and_no_others():
    assert set(clipserve.__all__) == EXPORTED
    assert list(clipserve.__all__) == sorted(clipserve.__all__)


@pytest.mark.parametrize("name", sorted(EXPORTED))
def test_every_public_name_exists_and_says_what_it_is(name):
    value = getattr(clipserve, name)
    assert name in dir(clipserve)
    if isinstance(value, type):
        assert value.__doc__
        assert value.__module__.startswith("clipserve.")


def test_every_error_is_public():
    public = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert {name for name in public if issubclass(getattr(errors, name), Exception)} <= EXPORTED


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(clipserve.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name for node in imports for alias in node.names} - {"*"}
    for node in imports:
        if node.names[0].name == "*":
            seen |= EXPORTED & set(vars(importlib.import_module(str(node.module))))
    assert seen == EXPORTED - {"__version__"}


@pytest.mark.parametrize("module", ["clipserve.errors", "clipserve.types"])
def test_a_package_has_all_names_of_its_modules(module):
    package = importlib.import_module(module)
    for info in pkgutil.iter_modules(package.__path__):
        for name, value in vars(importlib.import_module(f"{module}.{info.name}")).items():
            if not name.startswith("_"):
                assert getattr(package, name) is value


def test_other_names_do_not_exist():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = clipserve.nothing


def test_the_import_is_light():
    """Checks which modules are loaded, not the time: that depends on the machine."""
    code = "import sys, clipserve; clipserve.Client; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not set(HEAVY) & set(out.split())


def test_stubs_alone_do_not_load_the_client():
    code = "import sys; from clipserve.v1 import clip_pb2_grpc; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"clipserve.client", "clipserve.errors", "numpy"} & set(out.split())


def test_the_version_is_that_of_the_project():
    assert f'\nversion = "{clipserve.__version__}"\n' in (ROOT / "pyproject.toml").read_text()


def test_the_package_is_marked_as_typed():
    assert (Path(clipserve.__file__).parent / "py.typed").exists()
