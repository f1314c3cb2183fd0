"""Fingerprints of the code of a rule, so that Snakemake reruns the jobs that an edit affects.

Snakemake compares a rule's parameters, not the modules that its script imports. A fingerprint in the
parameters makes code a dependency, definition by definition: it includes only the definitions of the package that the
rule's function or notebook reaches. It depends on the content of a definition, not on its module.
"""

import ast
import copy
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = "neurohorizon"
IN_PARAMETERS = frozenset({f"{PACKAGE}.config"})
"""Modules that fingerprints ignore, since each rule has their values as parameters."""


@dataclass(frozen=True)
class Module:
    """The statements of the top level of one source file.

    Attributes:
        definitions: Name -> the statements that bind it.
        imported: Name -> the (module, name) of the package that it refers to.
        effects: Statements that run on every import, such as a loop or a call; not imports for types only.
    """

    definitions: dict[str, list[ast.stmt]]
    imported: dict[str, tuple[str, str]]
    effects: list[ast.stmt]

    @property
    def names(self) -> set[str]:
        """All names of the top level that fingerprints follow."""
        return self.definitions.keys() | self.imported.keys()


class Code:
    """The code of one package on disk.

    Each file is read once: build a new object after an edit.

    Args:
        root: Folder that holds the package.
        package: Its name.
        in_parameters: Modules that fingerprints ignore.
    """

    def __init__(self, root: Path, *, package: str = PACKAGE, in_parameters: frozenset[str] = IN_PARAMETERS):
        self._root = root
        self._package = package
        self._in_parameters = in_parameters
        self._module = cache(self._read_module)
        # scripts share most of their code
        self._package_imports = cache(self._find_package_imports)
        self._definition = cache(self._hash_definition)
        self._followed = cache(self._follow_definition)
        self._dump = cache(self._dump_statement)

    def fingerprint(self, *starts: str | Path) -> str:
        """Hash functions, scripts or notebooks and all code that they reach in the package, as 12 hexadecimal digits.

        Comments, docstrings, layout and the module of a definition are ignored: to improve or to move them reruns
        nothing.

        Args:
            starts: Functions, as ``module:name``, and files of scripts or notebooks, as paths.

        Raises:
            ImportError: The package is imported in a form that cannot be followed, or a name does not exist.
        """
        return _hash(sorted(self._reached(starts)))

    def state(self) -> str:
        """Hash all files of the package, this module, the version of Python, and what fingerprints ignore."""
        digest = hashlib.sha256(f"{sys.version} {self._package} {sorted(self._in_parameters)}".encode())
        folder = self._root / self._package
        files = {"": Path(__file__)} | {str(one.relative_to(folder)): one for one in sorted(folder.rglob("*.py"))}
        for name, path in files.items():
            content = path.read_bytes()
            digest.update(f"\n{name} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()

    def _reached(self, starts: Iterable[str | Path]) -> Iterator[str]:
        """Yield each statement that is reached, with the definitions that its names refer to."""
        pending: list[tuple[str, str | None]] = []
        for start in starts:
            if isinstance(start, str):
                pending.append(tuple(start.split(":")))
                continue
            for statement in _without_docstrings(ast.parse(_source(start))).body:
                names = self._package_imports(statement, start.name)
                pending += names.values()
                yield self._counted(statement, names)
        seen: set[tuple[str, str | None]] = set()
        while pending:
            key = self._defined(pending.pop())
            module = key[0]
            if key in seen or module in self._in_parameters:
                continue
            seen.add(key)
            # on import, the effects of a module and of its parent packages run
            parts = module.split(".")
            pending += [(".".join(parts[: last + 1]), None) for last in range(len(parts))]
            named, counted = self._followed(key)
            pending += named
            yield from counted

    def _follow_definition(self, key: tuple[str, str | None]) -> tuple[list[tuple[str, str | None]], list[str]]:
        """Return the definitions that a definition names, and its statements as they count."""
        module = key[0]
        found, named, counted = self._module(module), [], []
        for statement in self._statements(key):
            names = {used: (module, used) for used in _names(statement) if used in found.names}
            names |= self._package_imports(statement, module)
            named += names.values()
            counted.append(self._counted(statement, names))
        return named, counted

    def _counted(self, statement: ast.stmt, names: dict[str, tuple[str, str]]) -> str:
        """Return a statement as text and, for each name of the package in it, a hash of its definition."""
        meant = []
        for used, key in names.items():
            key = self._defined(key)
            if key[0] not in self._in_parameters:
                meant.append(f"{used}={self._definition(key)}")
        return f"{self._dump(statement)} {' '.join(sorted(meant))}"

    def _defined(self, key: tuple[str, str | None]) -> tuple[str, str | None]:
        """Follow imports to the module that defines a name."""
        module, name = key
        while module not in self._in_parameters and name in (imported := self._module(module).imported):
            module, name = imported[name]
        return module, name

    def _statements(self, key: tuple[str, str | None]) -> list[ast.stmt]:
        module, name = key
        found = self._module(module)
        if name is None:
            return found.effects
        if name not in found.definitions:
            raise ImportError(f"{module} does not define {name}: correct the name or the import")
        return found.definitions[name]

    def _hash_definition(self, key: tuple[str, str | None]) -> str:
        return _hash(self._dump(statement) for statement in self._statements(key))

    def _dump_statement(self, statement: ast.stmt) -> str:
        """Return a statement as text without its imports of the package, which name the module of a definition."""
        if any((node.module or "").split(".")[0] == self._package for node in _walked(statement).imports_from):
            statement = _WithoutImports(self._package).visit(copy.deepcopy(statement))
        return ast.dump(statement)

    def _read_module(self, name: str) -> Module:
        path = self._root.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        tree = _without_docstrings(ast.parse(path.read_text()))
        module = Module(definitions={}, imported={}, effects=[])
        for statement in tree.body:
            if _is_for_types(statement):
                continue
            imports = self._package_imports(statement, name)
            if imports and isinstance(statement, ast.ImportFrom):
                module.imported.update(imports)
            elif bound := _bound_names(statement):
                for each in bound:
                    module.definitions.setdefault(each, []).append(_only(statement, each))
            else:
                module.effects.append(statement)
        return module

    def _find_package_imports(self, statement: ast.stmt, place: str) -> dict[str, tuple[str, str]]:
        """Return the names that a statement imports from the package, with the module and the name in that module."""
        found = {}
        for node in (*_walked(statement).imports_from, *_walked(statement).imports):
            if isinstance(node, ast.ImportFrom):
                inside = node.level or (node.module or "").split(".")[0] == self._package
                followed = not node.level and node.module != self._package
                if inside and (not followed or any(alias.name == "*" for alias in node.names)):
                    raise self._cannot_follow(node, place)
                if inside:
                    found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
            elif isinstance(node, ast.Import) and self._package in _roots(node):
                raise self._cannot_follow(node, place)
        return found

    def _cannot_follow(self, node: ast.stmt, place: str) -> ImportError:
        return ImportError(f"{place}: write 'from {self._package}.module import name', not {ast.unparse(node)!r}")


def _source(script: Path) -> str:
    """Return the Python code of a script, or of a notebook's code cells."""
    text = script.read_text()
    if script.suffix != ".ipynb":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def _roots(statement: ast.Import) -> set[str]:
    return {alias.name.split(".")[0] for alias in statement.names}


def _is_for_types(statement: ast.stmt) -> bool:
    """Return whether a statement is read by type checkers only."""
    match statement:
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
            return True
    return False


def _bound_names(statement: ast.stmt) -> list[str]:
    """Return the names that a plain definition binds; none for anything else."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [statement.name]
        case ast.Import() | ast.ImportFrom():
            return [alias.asname or alias.name.split(".")[0] for alias in statement.names]
        case ast.Assign(targets=targets):
            leaves = [leaf for target in targets for leaf in getattr(target, "elts", [target])]
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            leaves = [target]
        case _:
            return []
    # X[key] = value changes an X that other statements may share, so it is an effect
    return [leaf.id for leaf in leaves] if all(isinstance(leaf, ast.Name) for leaf in leaves) else []


def _only(statement: ast.stmt, name: str) -> ast.stmt:
    """Return the part of an import that binds one name, and any other statement whole."""
    if not isinstance(statement, ast.Import | ast.ImportFrom):
        return statement
    names = [alias for alias in statement.names if (alias.asname or alias.name.split(".")[0]) == name]
    if isinstance(statement, ast.Import):
        return ast.Import(names=names)
    return ast.ImportFrom(module=statement.module, names=names, level=statement.level)


class KeptFingerprints:
    """Fingerprints that are computed once for each state of the code, and kept in a file.

    They take some seconds of processor time, and every start of the workflow needs them. The file is valid while no
    byte of the package, of this module and of the given scripts changes, in the same Python: else all are computed
    again. A file that cannot be read or written has no effect.

    Args:
        code: The code of a package.
        path: File of the fingerprints (JSON).
    """

    def __init__(self, code: Code, path: Path) -> None:
        self._code, self._path = code, path
        self._state = code.state()
        self._kept: dict[str, str] = {}
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            found = json.loads(path.read_text())
            if found["state"] == self._state:
                self._kept = {str(start): str(value) for start, value in found["fingerprints"].items()}

    def fingerprint(self, *starts: str | Path) -> str:
        """Return the fingerprint of :meth:`Code.fingerprint`, kept or new."""
        named = [one if isinstance(one, str) else [one.name, _hash([one.read_text()])] for one in starts]
        key = json.dumps(named)
        if key not in self._kept:
            self._kept[key] = self._code.fingerprint(*starts)
            self._write()
        return self._kept[key]

    def _write(self) -> None:
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps({"state": self._state, "fingerprints": self._kept}))
            partial.replace(self._path)


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


class _WithoutImports(ast.NodeTransformer):
    """Replace imports of one package, which the fingerprint follows, by nothing."""

    def __init__(self, package: str) -> None:
        self._package = package

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        return ast.Pass() if (node.module or "").split(".")[0] == self._package else node


@dataclass(frozen=True)
class _Walked:
    """Parts of a statement that fingerprints need, from one walk."""

    names: frozenset[str]
    imports: tuple[ast.Import, ...]
    imports_from: tuple[ast.ImportFrom, ...]


@cache
def _walked(statement: ast.stmt) -> _Walked:
    nodes = list(ast.walk(statement))
    return _Walked(
        names=frozenset(node.id for node in nodes if isinstance(node, ast.Name)),
        imports=tuple(node for node in nodes if isinstance(node, ast.Import)),
        imports_from=tuple(node for node in nodes if isinstance(node, ast.ImportFrom)),
    )


def _names(statement: ast.stmt) -> frozenset[str]:
    return _walked(statement).names


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """Remove bare strings: docstrings, and the notes below attributes."""
    pending: list[ast.AST] = [tree]
    while pending:  # only nodes that hold statements: no expression does
        node = pending.pop()
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list) and block:
                kept = [statement for statement in block if not _is_bare_string(statement)]
                setattr(node, field, kept or ([] if isinstance(node, ast.Module) else [ast.Pass()]))
                pending += getattr(node, field)
        pending += [*getattr(node, "handlers", ()), *getattr(node, "cases", ())]
    return tree


def _is_bare_string(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
    return False
