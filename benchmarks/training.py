"""Training steps per second of `genesis-v2 train` on a CPU: how threads wait, in which precision, on an idle machine and beside one busy process.

Run from the repository root: python benchmarks/training.py [--steps 150] [--threads 2] [--beside]
Every row is one run of the command with the environment named in it; the last column compares with the first row.
"""
import argparse, os, re, subprocess, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WAITS = {'torch as it comes': dict(OMP_WAIT_POLICY='active', GOMP_SPINCOUNT='300000'),      # libgomp's own default, 300,000 turns
         'sleep at once': dict(OMP_WAIT_POLICY='passive', GOMP_SPINCOUNT='0'),
         'the program': {}}                                                                 # spins for microseconds, then sleeps


def rate(steps, threads, precision, env, seconds):
    "Steps per second of a run; None if it takes longer than `seconds`"
    with tempfile.TemporaryDirectory() as tmp:
        words = [sys.executable, '-c', 'from genesis_v2.cli import main; main()', 'train', '--out', f'{tmp}/run', '--steps', str(steps), '--eval-every', str(steps), '--save-every', str(steps),
                 '--n', '32', '--device', 'cpu', '--precision', precision]
        clean = {k: v for k, v in os.environ.items() if k not in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')}
        try: out = subprocess.run(words, cwd=tmp, env=clean | dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS=str(threads)) | env, capture_output=True, text=True, timeout=seconds, check=True).stdout
        except subprocess.TimeoutExpired: return None
    return float(re.findall(r'([\d.]+) steps/s', out)[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--steps', type=int, default=150, help='steps per run')
    p.add_argument('--threads', type=int, default=os.cpu_count(), help='threads of each run')
    p.add_argument('--beside', action='store_true', help='measure beside a process that keeps one core busy')
    p.add_argument('--seconds', type=float, default=300., help='a run is given up after this')
    a = p.parse_args()
    busy = subprocess.Popen([sys.executable, '-c', 'while True: pass']) if a.beside else None
    try:
        print(f'{a.threads} threads of {os.cpu_count()} cores, {"beside a busy process" if a.beside else "machine left alone"}\n{"precision":>10} {"waiting threads":>18} {"steps/s":>9} {"ratio":>7}')
        first = None
        for precision in ('fp32', 'bf16'):
            for name, env in WAITS.items():
                r = rate(a.steps, a.threads, precision, env, a.seconds)
                first = first or r
                print(f'{precision:>10} {name:>18} ' + (f'{r:9.2f} {r/first:6.2f}×' if r and first else f'{"–":>9}'), flush=True)
    finally:
        if busy: busy.kill()


if __name__ == '__main__': main()
