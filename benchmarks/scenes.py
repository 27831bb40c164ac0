"""Rendered scenes: images per second with their masks, in one process and in two, beside the bare drawing calls for the same scenes.

Run from the repository root: python benchmarks/scenes.py [--seconds 5] [--processes 1 2]
"""
import argparse, importlib, multiprocessing as mp, os, sys, time
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from genesis_v2.scenes import SCENES
from genesis_v2.scenes import render

TARGET = dict(objects_room=150, shapestacks=20)  # images/s that we want from two idle cores


def recipe(name, **kw):
    module, cls = SCENES[name].split(':')
    return getattr(importlib.import_module(module), cls)(**kw)


def bare(name, n=32):
    "Seconds that drawing alone takes per image, picture and mask, and that making it takes, for the same scenes in turn"
    r, spent, calls = recipe(name), [0.], [0]
    draw = render.Renderer._draw
    def timed(self, mask):
        start = time.perf_counter(); res = draw(self, mask); spent[0] += time.perf_counter() - start; calls[0] += 1
        return res
    r.scene('train', 0)
    render.Renderer._draw = timed
    try:
        start = time.perf_counter()
        for i in range(n): r.scene('train', i)
        return spent[0]/n, (time.perf_counter() - start)/n, calls[0]/n
    finally: render.Renderer._draw = draw


def work(name, worker, seconds, ready, go, done):
    "Make scenes for so long, and report how many images and how much processor time that was"
    r, i = recipe(name), 10_000*worker
    r.scene('train', i)
    ready.put(worker); go.wait()
    start, cpu, n = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds: r.convert(('train', i + 1 + n, i + 17 + n)); n += 16
    done.put((n/(time.perf_counter() - start), n/(time.process_time() - cpu)))


def together(name, processes, seconds):
    "Images per second of all processes, and per second of processor time of one"
    c = mp.get_context('spawn')
    ready, done, go = c.Queue(), c.Queue(), c.Event()
    ps = [c.Process(target=work, args=(name, k, seconds, ready, go, done)) for k in range(processes)]
    for p in ps: p.start()
    for _ in ps: ready.get()
    go.set()
    rates = [done.get() for _ in ps]
    for p in ps: p.join()
    return sum(r for r, _ in rates), sum(r for _, r in rates)/processes


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--seconds', type=float, default=5., help='time per measurement')
    p.add_argument('--processes', type=int, nargs='+', default=[1, 2])
    a = p.parse_args()
    if (trouble := render.render_trouble()): sys.exit(trouble)
    print(f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, MuJoCo {render.load_mujoco().__version__}, MUJOCO_GL={os.environ.get("MUJOCO_GL")}')
    print(f'{"":14} {"processes":>9} {"images/s":>9} {"per s of processor time":>24} {"aim for two idle cores":>23}')
    for name in SCENES:
        for k in a.processes:
            wall, cpu = together(name, k, a.seconds)
            print(f'{name:14} {k:9d} {wall:9.0f} {cpu:24.0f} {TARGET[name] if k == 2 else "":>23}')
        drawing, whole, calls = min(bare(name) for _ in range(3))
        print(f'{name:14} drawing alone {1/drawing:.0f} images/s ({calls:.1f} draws an image), everything {1/whole:.0f}: {drawing/whole:.0%} of the time is drawing')


if __name__ == '__main__': main()
