"""What a mutant is: one small change of one source file, with a name that outlives edits elsewhere in the file.

A name is `core/sale.py:Sale.owed:bound:2`: file, function, kind of change, and which one of that kind in the function.
The kinds are in `KINDS`. Text of errors, labels (f-strings), annotations and decorators are left alone.
"""

import ast
import copy
from collections import Counter
from dataclasses import dataclass

KINDS = {
    "boundary": "< and <=, > and >= change places",
    "negate": "a condition is its opposite",
    "not": "a `not` is gone",
    "logic": "`and` and `or`, any and all change places",
    "operand": "one side of an `and` or `or` is gone",
    "arithmetic": "+ and -, * and //, << and >> change places, a sign is gone",
    "rounding": "// rounds up instead of down, or down instead of up",
    "number": "a whole number is one more or one less; a setting of 10 and more is twice or half of that",
    "flag": "True and False change places",
    "bound": "min and max change places, or one of their arguments is gone",
    "return": "what is returned is nothing, 0 or its opposite",
    "branch": "`a if c else b` is always one of the two",
    "delete": "a statement is gone",
}

COMPARISONS = {
    ast.Lt: ("boundary", ast.LtE),
    ast.LtE: ("boundary", ast.Lt),
    ast.Gt: ("boundary", ast.GtE),
    ast.GtE: ("boundary", ast.Gt),
    ast.Eq: ("negate", ast.NotEq),
    ast.NotEq: ("negate", ast.Eq),
    ast.Is: ("negate", ast.IsNot),
    ast.IsNot: ("negate", ast.Is),
    ast.In: ("negate", ast.NotIn),
    ast.NotIn: ("negate", ast.In),
}
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
CALLS = {"min": ("bound", "max"), "max": ("bound", "min"), "any": ("logic", "all"), "all": ("logic", "any")}
TEXT = (ast.JoinedStr, ast.List, ast.Tuple)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)


@dataclass(frozen=True)
class Mutant:
    id: str
    file: str
    """Relative to host/satmeter."""
    first: int
    last: int
    code: str
    """The line as it is."""
    change: str
    """What is there -> what the mutant has."""
    start: int
    end: int
    new: str
    inside: bool
    """Is it in a function, not in what runs when the module is loaded?"""

    @property
    def name(self) -> str:
        """The module's name."""
        return "satmeter." + self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def applied(self, text: str) -> str:
        """Return the changed source; every line keeps its number."""
        source = text.encode()
        old, new = source[self.start : self.end], self.new.encode()
        return (source[: self.start] + new + b"\n" * old.count(b"\n") + source[self.end :]).decode()


def is_text(node):
    return isinstance(node, TEXT) or (isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)))


def with_(node, **changes):
    changed = copy.copy(node)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


def is_ceiling(node):
    """Is it -(-a // b), which rounds up?"""
    inner = node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else None
    if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.FloorDiv) and isinstance(inner.left, ast.UnaryOp):
        return isinstance(inner.left.op, ast.USub)
    return False


def of_comparison(node):
    for at, op in enumerate(node.ops):
        kind, other = COMPARISONS[type(op)]
        yield kind, with_(node, ops=[*node.ops[:at], other(), *node.ops[at + 1 :]])


def of_logic(node):
    yield "logic", with_(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for at in range(len(node.values)):
        rest = node.values[:at] + node.values[at + 1 :]
        yield "operand", rest[0] if len(rest) == 1 else with_(node, values=rest)


def of_unary(node):
    if isinstance(node.op, ast.Not):
        yield "not", node.operand
    elif is_ceiling(node):
        yield "rounding", with_(node.operand, left=node.operand.left.operand)
    elif isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield "arithmetic", node.operand


def of_arithmetic(node):
    if is_text(node.left) or is_text(node.right):
        return
    if isinstance(node.op, ast.FloorDiv):
        up = with_(node, left=ast.UnaryOp(ast.USub(), node.left))
        yield "rounding", ast.UnaryOp(ast.USub(), up)
    elif type(node.op) in ARITHMETIC:
        yield "arithmetic", with_(node, op=ARITHMETIC[type(node.op)]())


def of_number(node):
    value = node.value
    if isinstance(value, bool):
        yield "flag", ast.Constant(not value)
    elif isinstance(value, int):
        yield "number", ast.Constant(value + 1)
        if value:
            yield "number", ast.Constant(value - 1)


def of_setting(node):
    """A bound that a module or a class sets is wrong by more than one: whether it is 500 or 501 is a choice."""
    yield "number", ast.Constant(node.value * 2)
    yield "number", ast.Constant(node.value // 2)


def is_setting(node):
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value >= 10


def of_call(node):
    if not isinstance(node.func, ast.Name) or node.func.id not in CALLS:
        return
    kind, other = CALLS[node.func.id]
    yield kind, with_(node, func=ast.Name(other))
    if kind == "bound" and len(node.args) == 2 and not any(isinstance(a, ast.Starred) for a in node.args):
        yield kind, node.args[1]
        yield kind, node.args[0]


def of_choice(node):
    yield from of_condition(node)
    yield "branch", node.body
    yield "branch", node.orelse


def of_condition(node):
    """Negate what no other kind changes."""
    test = node.test
    if not isinstance(test, (ast.Compare, ast.BoolOp)) and not (
        isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    ):
        yield "negate", test, ast.UnaryOp(ast.Not(), test)


def of_return(node, returns):
    if node.value is None:
        yield "delete", ast.Pass()
    elif not (isinstance(node.value, ast.Constant) and not node.value.value):
        nothing = {"int": ast.Constant(0), "bool": ast.UnaryOp(ast.Not(), node.value), "str": ast.Constant("")}
        yield "return", ast.Return(nothing.get(returns, ast.Constant(None)))


def of_assignment(node):
    if isinstance(node, ast.AugAssign):
        if type(node.op) in ARITHMETIC and not is_text(node.value):
            yield "arithmetic", with_(node, op=ARITHMETIC[type(node.op)]())
        yield "delete", ast.Pass()
        return
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if node.value is not None and all(isinstance(t, (ast.Attribute, ast.Subscript)) for t in targets):
        yield "delete", ast.Pass()


def of_statement(node):
    if not isinstance(node, ast.Expr) or isinstance(node.value, (ast.Call, ast.Await)):
        yield "delete", ast.Pass()


OF = {
    ast.Compare: of_comparison,
    ast.BoolOp: of_logic,
    ast.UnaryOp: of_unary,
    ast.BinOp: of_arithmetic,
    ast.Constant: of_number,
    ast.Call: of_call,
    ast.IfExp: of_choice,
    ast.If: of_condition,
    ast.While: of_condition,
    ast.Assert: of_condition,
    ast.Assign: of_assignment,
    ast.AnnAssign: of_assignment,
    ast.AugAssign: of_assignment,
    **dict.fromkeys((ast.Expr, ast.Raise, ast.Delete, ast.Break, ast.Continue), of_statement),
}
LEFT_ALONE = {
    ast.JoinedStr: ("values",),
    ast.Raise: ("exc", "cause"),
    ast.AnnAssign: ("annotation",),
    ast.arg: ("annotation",),
    **dict.fromkeys((ast.FunctionDef, ast.AsyncFunctionDef), ("decorator_list", "returns")),
    ast.ClassDef: ("decorator_list", "bases", "keywords"),
    ast.match_case: ("pattern",),
}


def assigned(node):
    """Return the names that a module or a class gives to something."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    return [",".join(names)] if names else []


class Walk:
    """All mutants of one file, in the order of its source."""

    def __init__(self, file: str, text: str):
        self.file, self.lines = file, text.encode().splitlines(keepends=True)
        self.text, self.starts, at = text, [], 0
        for line in self.lines:
            self.starts.append(at)
            at += len(line)
        self.count, self.found, self.inside = Counter(), [], 0
        self.visit(ast.parse(text), (), "")

    def visit(self, node, scope, returns):
        if isinstance(node, DEFINITIONS):
            scope = (*scope, node.name)
            returns = ast.unparse(node.returns) if getattr(node, "returns", None) else ""
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and not self.inside:
            scope = (*scope, *assigned(node))
        self.mutate(node, scope, returns)
        rounded = node.operand if is_ceiling(node) else None
        for name, value in ast.iter_fields(node):
            if name in LEFT_ALONE.get(type(node), ()):
                continue
            body = name == "body" and isinstance(node, FUNCTIONS)  # and not its defaults, which are of the module
            self.inside += body
            for child in value if isinstance(value, list) else [value]:
                if rounded is not None and child is rounded:
                    self.visit(rounded.left.operand, scope, returns)
                    self.visit(rounded.right, scope, returns)
                elif isinstance(child, ast.AST):
                    self.visit(child, scope, returns)
            self.inside -= body

    def mutate(self, node, scope, returns):
        if isinstance(node, ast.Return):
            made = of_return(node, returns)
        elif isinstance(node, ast.stmt) and not self.inside:
            return
        elif not self.inside and is_setting(node):
            made = of_setting(node)
        else:
            made = OF[type(node)](node) if type(node) in OF else ()
        for kind, *where, new in made:
            self.add(where[0] if where else node, kind, new, scope)

    def add(self, node, kind, new, scope):
        place = f"{self.file}:{'.'.join(scope) or '-'}:{kind}"
        self.count[place] += 1
        start = self.starts[node.lineno - 1] + node.col_offset
        end = self.starts[node.end_lineno - 1] + node.end_col_offset
        old, written = " ".join(ast.unparse(node).split()), ast.unparse(new)
        if isinstance(node, ast.expr):
            written = f"({written})"
        code = self.lines[node.lineno - 1].decode().strip()
        change = f"{old} -> {' '.join(ast.unparse(new).split())}"
        self.found.append(
            Mutant(
                f"{place}:{self.count[place]}",
                self.file,
                node.lineno,
                node.end_lineno,
                code,
                change,
                start,
                end,
                written,
                self.inside > 0,
            )
        )


def mutants(file: str, text: str) -> list[Mutant]:
    """Return the mutants of a file."""
    return Walk(file, text).found
