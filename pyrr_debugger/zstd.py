"""zstandard's extension module, without the package around it where that can be done: the package imports `platform`,
which compiles regular expressions for longer than Python takes to start."""

from __future__ import annotations

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from typing import Any

    import zstandard as zstandard
else:

    def _extension() -> Any:
        # importlib.machinery and importlib.util have them, and import contextlib and warnings along.
        from _frozen_importlib import module_from_spec
        from _frozen_importlib_external import PathFinder

        package = PathFinder.find_spec("zstandard")
        spec = package and PathFinder.find_spec("zstandard.backend_c", package.submodule_search_locations)
        if spec and spec.loader:
            module = module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
                return module
            except ImportError:
                pass
        import zstandard

        return zstandard

    zstandard = _extension()

__all__ = ["zstandard"]
