"""Are the outputs that stand in the notebooks what their cells give today?

    python .ci/outputs.py [NOTEBOOK …]        runs them in a copy and compares texts; nothing here is changed

Words have to be equal, numbers agree to 5 % (another processor or another torch rounds otherwise, and a short training ends elsewhere); numbers that
are both below 0.0001 count as equal, because most of those are rounding errors. Cells that
say `#| volatile` show times or what else a machine has of its own, and are compared by nothing; those that say `#| samples` read real samples or
recordings, and are compared where those are. Slow cells are not run, pictures not compared.
"""
import json, math, os, re, shutil, subprocess, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NUMBER = re.compile(r'[-+−]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?')
WITHIN, FLOOR = .05, 1e-4       # relative, and absolute for small numbers


def text(cell):
    "All text that a cell shows"
    for o in cell.get('outputs', []):
        if o['output_type'] == 'stream' and o['name'] == 'stdout': yield ''.join(o['text'])
        data = o.get('data', {})
        if not any(k.startswith('image/') for k in data): yield from (''.join(v) for k, v in sorted(data.items()) if k.startswith('text/'))


def value(s): return float(s.replace(',', '').replace('−', '-'))


def differs(old, new):
    "What differs between two texts, None if nothing does"
    if (a := NUMBER.sub('#', old).split()) != (b := NUMBER.sub('#', new).split()):
        return next((f'{u} → {v}' for u, v in zip(a, b) if u != v), f'{len(a)} → {len(b)} words')
    for u, v in zip(NUMBER.findall(old), NUMBER.findall(new)):
        if not math.isclose(value(u), value(v), rel_tol=WITHIN, abs_tol=FLOOR): return f'{u} → {v}'


def passed_over(cell):
    "Can this cell's output not be compared here?"
    says = lambda word: re.search(rf'^#\|[ ]*{word}\b', ''.join(cell['source']), re.M)
    return says('volatile') or says('samples') and not (ROOT/os.environ.get('GENESIS_V2_SHARED', '../shared')).exists()


def main(names):
    tracked = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, check=True, capture_output=True).stdout.decode().split('\0')
    files = [Path(f) for f in tracked if f.startswith('nbs/') and f.endswith('.ipynb')]
    if names: files = [f for f in files if f.name in names or f.as_posix() in names or f.stem in names]
    if not files: sys.exit(f'no notebook is called {names}')
    with tempfile.TemporaryDirectory(prefix='outputs-', dir=ROOT.parent) as copy:
        for f in filter(None, tracked):
            (Path(copy)/f).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT/f).is_file(): shutil.copy2(ROOT/f, Path(copy)/f)
        command = [str(Path(sys.executable).parent/'nbdev-test'), '--save', '--n-workers', '2' if len(files) > 1 else '0']
        if len(files) == 1: command.append(str(Path(copy)/files[0]))
        elif names: command += ['--file-re', '|'.join(f'^{re.escape(f.name)}$' for f in files)]
        if subprocess.run(command, cwd=copy).returncode: sys.exit('the tests fail: mend these first')
        problems = compared = 0
        for f in files:
            before, after = (json.loads((Path(r)/f).read_text(encoding='utf-8'))['cells'] for r in (ROOT, copy))
            for n, (b, a) in enumerate(zip(before, after)):
                if b['cell_type'] != 'code' or passed_over(b): continue
                old, new = '\n'.join(text(b)), '\n'.join(text(a))
                compared += bool(old)
                if found := differs(old, new): print(f'{f}, cell {n}: {found}'); problems += 1
    print(f'{len(files)} notebooks, {compared} outputs compared, {problems} differ')
    return bool(problems)


if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
