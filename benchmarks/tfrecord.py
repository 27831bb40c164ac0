"""TFRecord files: reading against gunzip alone, on a file like ObjectsRoom's; megabytes per second of the uncompressed stream, and their ratio.

Run from the repository root: python benchmarks/tfrecord.py [--n 1000] [--repeats 5]
"""
import argparse, sys, tempfile, time, zlib
from pathlib import Path
import numpy as np
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from genesis_v2.data.multi_object import ObjectsRoom
from genesis_v2.data.tfrecord import encode_example, parse_example, records, write_records


def rooms(n, seed=0):
    "Records of `n` rooms with floor, sky, two walls and up to three balls, shaded, with one level of noise"
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:64, :64]
    for _ in range(n):
        horizon, corner, colours = rng.integers(25, 40), rng.integers(10, 54), rng.uniform(40, 230, (7, 3))
        what = np.where(y >= horizon + 8, 1, np.where(y < horizon - 12, 0, np.where(x < corner, 2, 3)))
        for o in range(4, 4 + rng.integers(4)): what[(x - rng.integers(8, 56))**2 + (y - rng.integers(30, 60))**2 < rng.integers(4, 10)**2] = o
        image = colours[what] * (.75 + .25*np.sin(x/20 + y/30 + rng.uniform(0, 6)))[..., None] + rng.integers(0, 2, (64, 64, 1))
        yield encode_example({'mask': ((np.arange(7)[:, None, None] == what)*255).astype(np.uint8), 'image': image.astype(np.uint8)})


def gunzip(file):
    "Bytes of the uncompressed stream, by zlib alone"
    z, n = zlib.decompressobj(31), 0
    with open(file, 'rb') as f:
        while part := f.read(2**14):
            while part: n += len(z.decompress(part, 2**18)); part = z.unconsumed_tail
    return n


def convert(folder):
    "All the way to images and labels, in one process"
    recipe = ObjectsRoom(folder)
    return sum(len(recipe.convert(work).images) for _, work in recipe.blocks())


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=1000, help='records in the file')
    p.add_argument('--repeats', type=int, default=5, help='the best of so many runs counts')
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder)/'objects_room_train.tfrecords'
        write_records(file, rooms(a.n), compress=True)
        steps = {'gunzip alone': lambda: gunzip(file), 'unpack, frame, check': lambda: sum(1 for _ in records(file)),
                 'pass over records': lambda: sum(1 for _ in records(file, skip=lambda i: True)),
                 'and parse': lambda: sum(len(parse_example(r.data, ['image', 'mask'])['mask']) for r in records(file)), 'and make scenes': lambda: convert(folder)}
        best = dict.fromkeys(steps, float('inf'))
        for _ in range(a.repeats):                      # in turns, so that a busy moment hits all of them; processor time, so that other programs do not count
            for name, f in steps.items(): start = time.process_time(); f(); best[name] = min(best[name], time.process_time() - start)
        n = gunzip(file)
        print(f'{a.n} records, {n/a.n/1e3:.1f} kB each, compressed {n/file.stat().st_size:.1f} times')
        for name, seconds in best.items(): print(f'{name:>22} {n/seconds/1e6:8,.0f} MB/s {a.n/seconds:8,.0f} records/s {best["gunzip alone"]/seconds:6.2f} × gunzip')


if __name__ == '__main__': main()
