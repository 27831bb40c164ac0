"""The gates of .ci/run that need more than one line of shell; standard library only, so that any Python 3.11 runs them.

    python3 .ci/gates.py block N              print the Nth ```sh block of README.md
    python3 .ci/gates.py commands             README's first block trains, its second runs the tests
    python3 .ci/gates.py state                one line per changed or untracked file, with a hash of its content
    python3 .ci/gates.py import               `import genesis_v2` is quick and leaves fastai and CUDA alone
    python3 .ci/gates.py sizes                no notebook above 1 MB
    python3 .ci/gates.py paths                no file names a folder of the machine it was written on
    python3 .ci/gates.py wheel FILE           the wheel holds every tracked file of the package, and the licence
"""
import hashlib, re, subprocess, sys, zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIB = 'genesis_v2'
MAX_NB = 1_000_000      # bytes
MAX_IMPORT = 1.         # seconds


def git(*args):
    "Output lines of a git command run at the repository root; file names are NUL-separated, hence any name is safe"
    out = subprocess.run(['git', *args], cwd=ROOT, check=True, capture_output=True).stdout.decode()
    return [o for o in out.split('\0') if o]


def tracked(*patterns):
    "Tracked files matching `patterns`, as paths relative to the root"
    return [Path(o) for o in git('ls-files', '-z', *patterns) if (ROOT/o).is_file()]


def blocks(text):
    "The ```sh fenced blocks of a markdown text"
    return re.findall(r'^```sh[ \t]*\n(.*?)^```[ \t]*$', text, flags=re.S | re.M)


def block(n):
    "Print the nth ```sh block of README.md, counted from 1"
    found = blocks((ROOT/'README.md').read_text(encoding='utf-8'))
    if len(found) < int(n): return [f'README.md has {len(found)} ```sh blocks; block {n} was asked for']
    print(found[int(n)-1], end='')


def commands():
    "README's first ```sh block is the main job and its second the tests: .ci/run runs them in that order"
    found = blocks((ROOT/'README.md').read_text(encoding='utf-8'))
    return [f'```sh block {i+1} of README.md does not call `{cmd}`' for i, cmd in enumerate(['genesis-v2 train', 'nbdev-test'])
            if len(found) <= i or cmd not in found[i]]


def state():
    "Print what `git status` would list, with a hash of each file, so that two states can be compared with diff"
    items = git('status', '--porcelain', '-z', '--no-renames', '--untracked-files=all')
    for o in items:
        f = ROOT/o[3:]
        print(o, hashlib.sha256(f.read_bytes()).hexdigest()[:12] if f.is_file() else '-')


_probe = f'''
import sys, time
t = time.perf_counter(); import {LIB}; t = time.perf_counter() - t
torch = sys.modules.get('torch')
print(t, 'fastai' in sys.modules, bool(torch and torch.cuda.is_initialized()), torch is not None)
'''


def import_time(tries=4):
    "Import the package in fresh interpreters; the first try warms the disk cache and does not count"
    runs = []
    for _ in range(tries):
        p = subprocess.run([sys.executable, '-c', _probe], cwd=ROOT/'nbs', capture_output=True, text=True)
        if p.returncode: return [p.stderr]
        runs.append(p.stdout.split())
    best = min(float(r[0]) for r in runs[1:])
    print(f'import {LIB}: {best:.3f} s, torch {"imported" if runs[0][3] == "True" else "not imported"}')
    wrong = {f'import {LIB} takes {best:.2f} s; the limit is {MAX_IMPORT} s': best >= MAX_IMPORT,
             f'import {LIB} imports fastai; import it inside the function that needs it': runs[0][1] == 'True',
             f'import {LIB} initialises CUDA': runs[0][2] == 'True'}
    return [o for o, is_so in wrong.items() if is_so]


def sizes():
    "Tracked notebooks above the limit"
    nbs = {f: (ROOT/f).stat().st_size for f in tracked('*.ipynb')}
    if nbs: print(f'{len(nbs)} notebooks, the largest {max(nbs.values())/1e6:.2f} MB')
    return [f'{f}: {n/1e6:.2f} MB; draw a smaller figure or lower its dpi' for f, n in nbs.items() if n > MAX_NB]


_base64 = re.compile(r'[A-Za-z0-9+/=]{60,}')
# Not within a relative path or an address, but after the escapes that notebooks hold: a newline or the end of a colour code.
_machine_path = re.compile(r'(?:(?<![\w.~/:-])|(?<=\\n)|(?<=\dm)|(?<=file://))/(?:work|root)/[\w./-]*')


def paths():
    "Absolute paths of the authors' machine in tracked text files"
    for f in tracked():
        try: text = (ROOT/f).read_text(encoding='utf-8')
        except UnicodeDecodeError: continue
        for i, line in enumerate(text.splitlines(), 1):
            for m in _machine_path.finditer(_base64.sub('', line)): yield f'{f}:{i}: {m[0]}'


def wheel(file):
    "What the wheel lacks: tracked package files, licence, commands, or the README as its description"
    with zipfile.ZipFile(file) as z:
        names = set(z.namelist())
        meta = next(z.read(n).decode() for n in names if n.endswith('.dist-info/METADATA'))
    print(f'{Path(file).name}: {len(names)} files, {Path(file).stat().st_size/1e6:.2f} MB')
    want = [f.as_posix() for f in tracked(LIB)]
    missing = [f'{n} is not in the wheel' for n in want if n not in names]
    if not any(n.endswith('/LICENSE') for n in names): missing.append('LICENSE is not in the wheel')
    if not any(n.endswith('/entry_points.txt') for n in names): missing.append('no entry points: the command genesis-v2 is not in the wheel')
    if (ROOT/'README.md').read_text(encoding='utf-8').strip() not in meta.replace('\r\n', '\n'): missing.append("README.md is not the wheel's description")
    return missing


GATES = {'block': block, 'commands': commands, 'state': state, 'import': import_time, 'sizes': sizes, 'paths': paths, 'wheel': wheel}

if __name__ == '__main__':
    if len(sys.argv) < 2 or sys.argv[1] not in GATES: sys.exit(__doc__)
    problems = list(GATES[sys.argv[1]](*sys.argv[2:]) or [])
    if problems: sys.exit('\n'.join(problems))
