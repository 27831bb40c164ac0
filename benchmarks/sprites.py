"""Sprites: images per second on one core, per size, and how many times faster than painting scene by scene.

Run from the repository root: python benchmarks/sprites.py [--seconds 2] [--n 1024]
"""
import argparse, sys, time
from pathlib import Path
import numpy as np, torch
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from genesis_v2.data.sprites import sprites_dataset, _paint_slowly


def rate(f, n, seconds):
    "Images per second of `f`, which paints `n` images: the best of the runs that fit in `seconds`."
    f(); best, end = float('inf'), time.perf_counter() + seconds
    while True:
        t = time.perf_counter(); f(); best = min(best, time.perf_counter() - t)
        if time.perf_counter() > end: return n/best


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--seconds', type=float, default=2., help='time per measurement')
    p.add_argument('--n', type=int, default=1024, help='images per batch')
    p.add_argument('--sizes', type=int, nargs='+', default=[32, 64, 128, 256])
    a = p.parse_args()
    torch.set_num_threads(1)
    print(f'{"size":>6} {"batched":>12} {"batch of 32":>12} {"one by one":>12} {"scene by scene":>15} {"ratio":>7}   (images/s)')
    for size in a.sizes:
        ds, few = sprites_dataset(img_size=size), 128
        quick, slow = ds.batch(range(few)), _paint_slowly(ds.latents(range(few)), size)
        assert all(np.array_equal(q.numpy(), s) for q, s in zip(quick, slow)), f'the painters differ at {size}'
        r = (rate(lambda: ds.batch(range(a.n)), a.n, a.seconds), rate(lambda: ds.batch(range(32)), 32, a.seconds),
             rate(lambda: [ds[i] for i in range(64)], 64, a.seconds),
             rate(lambda: _paint_slowly(ds.latents(range(few)), size), few, a.seconds))
        print(f'{size:6d} {r[0]:12,.0f} {r[1]:12,.0f} {r[2]:12,.0f} {r[3]:15,.0f} {r[0]/r[3]:6.1f}×')


if __name__ == '__main__': main()
