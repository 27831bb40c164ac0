"""Modules import downwards only. The table below is the architecture, lowest layer first; this script holds genesis_v2/ to it.

    python3 .ci/layers.py [PACKAGE_FOLDER]

Imports inside functions count as well: a late import still makes the lower module need the higher one.
Modules of one layer may import one another as long as no cycle arises. `__init__.py` of the package itself is outside the table.
"""
import ast, sys
from pathlib import Path

LAYERS = [
    ('files',      ['files']),
    ('maths',      ['kernels', 'likelihood', 'icsbp', 'latents', 'geco', 'metrics', 'draws']),
    ('networks',   ['layers', 'backbone', 'decoder', 'component_vae']),
    ('models',     ['models']),
    ('data',       ['data']),
    ('rendering',  ['scenes']),
    ('plots',      ['plots', 'graphical_models']),
    ('training',   ['learner', 'distributed', 'watch']),
    ('evaluation', ['evaluation', 'fid', 'export']),
    ('runs',       ['runs', 'tables', 'bench']),
    ('widgets',    ['widgets']),
    ('commands',   ['cli']),
]
LEVEL = {name: i for i, (_, names) in enumerate(LAYERS) for name in names}


def level(
    module, # Name without the package, e.g. 'models.genesis_v2'
):
    "Index of the layer of a module, None if the table has no place for it"
    return LEVEL.get(module.split('.')[0])


def modules(
    folder, # Folder of the package
):
    "Dict of module name (without the package; '' for the package itself) to its file"
    res = {}
    for f in sorted(folder.rglob('*.py')):
        parts = f.relative_to(folder).with_suffix('').parts
        if parts[-1] == '__init__': parts = parts[:-1]
        if parts[-1:] != ('_modidx',): res['.'.join(parts)] = f
    return res


def imports(
    name, # Importing module, as in `modules`
    mods, # Dict from `modules`
    package, # Name of the package
):
    "Triples (imported module of the same package, '' for the package itself; what the line names; line number)"
    file = mods[name]
    here = [package, *filter(None, name.split('.'))]
    if file.name != '__init__.py': here = here[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'), str(file))):
        if isinstance(node, ast.Import): found = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join([*here[:len(here) - node.level + 1], *filter(None, [node.module])]) if node.level else node.module
            found = [f'{base}.{a.name}' for a in node.names]
        else: continue
        for o in found:
            top, *rest = o.split('.')
            if top != package: continue
            while rest and '.'.join(rest) not in mods: rest.pop()  # `from .kernels import gaussian_kernel` needs the module kernels
            yield '.'.join(rest), o, node.lineno


def cycle(
    graph, # Dict of name to the set of names it imports
):
    "A cycle as a list of names that ends where it starts, [] if there is none"
    done, path = set(), []
    def visit(n):
        if n in path: return path[path.index(n):] + [n]
        if n in done: return []
        path.append(n)
        for m in sorted(graph.get(n, ())):
            if found := visit(m): return found
        path.pop()
        done.add(n)
        return []
    return next((c for n in sorted(graph) if (c := visit(n))), [])


def check(
    folder, # Folder of the package
):
    "Everything wrong with the imports of a package, one sentence each"
    folder = Path(folder)
    mods, graph = modules(folder), {}
    for name, file in mods.items():
        if not name: continue
        if level(name) is None:
            yield f'{file}: module {name} has no layer; give it a place in .ci/layers.py'
            continue
        for other, named, line in imports(name, mods, folder.name):
            where = f'{file}:{line}: {name} ({LAYERS[level(name)][0]}) imports '
            if not other:
                if named != folder.name and not named.endswith('__'): yield where + f'{named}; import it from the module that defines it'
            elif level(other) is None: continue  # said once, where that module is visited
            elif level(other) > level(name): yield where + f'{other} ({LAYERS[level(other)][0]}), a higher layer'
            elif other != name: graph.setdefault(name, set()).add(other)
    if c := cycle(graph): yield 'modules import one another in a circle: ' + ' -> '.join(c)


if __name__ == '__main__':
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent/'genesis_v2'
    problems = list(check(folder))
    if problems: sys.exit('\n'.join(problems))
    print(f'{len(modules(folder))} modules, no import upwards and no circle')
