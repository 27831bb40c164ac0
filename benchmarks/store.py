"""The store: reads per second for several HDF5 layouts, from the page cache and from the disk.

Run from the repository root: python benchmarks/store.py [--n 4000] [--size 64] [--content scenes photos]
"""
import argparse, os, sys, tempfile, time
from pathlib import Path
import h5py, numpy as np
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from genesis_v2.data.recipe import Scenes, Recipe
from genesis_v2.data.sprites import sprites_dataset
from genesis_v2.data.store import SceneDataset, write_store

LAYOUTS = [('contiguous', {})] + [(f'{k} per chunk{t}', dict(chunk=k, **o)) for k in (1, 8, 64) for t, o in
    (('', {}), (', lzf', dict(compression='lzf')), (', gzip 1', dict(compression='gzip', compression_opts=1)))]


def content(kind, n, size):
    "Images (n,H,W,3) and labels (n,H,W): plain colours as rendered scenes have them, or soft shading with the noise of a camera"
    images, labels = (t.numpy() for t in sprites_dataset(img_size=size).batch(range(n)))
    images = images.transpose(0, 2, 3, 1)
    if kind == 'scenes': return np.ascontiguousarray(images), labels
    rng, ramp = np.random.default_rng(0), np.linspace(.6, 1, size)[:, None, None]
    return np.concatenate([(images[i:i+256] * ramp + rng.normal(0, 4, images[i:i+256].shape)).clip(0, 255).astype(np.uint8) for i in range(0, n, 256)]), labels


def forget(path):
    "Drop the file from the page cache, so that the next read comes from the disk"
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    if hasattr(os, 'posix_fadvise'): os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def h5py_reader(path):
    "Function from sorted positions (or a slice) to images and labels, by h5py's own indexing"
    f = h5py.File(path, rdcc_nbytes=16 * 2**20)
    return lambda where: (f['images'][where], f['labels'][where])


def one_by_one(read): return lambda where: [read(i) for i in where]


def rate(read, jobs, seconds, path, cold=False):
    "Images per second over `jobs`, a list of (positions, how many)"
    if cold: forget(path)
    n, start = 0, time.perf_counter()
    for where, k in jobs:
        read(where)
        n += k
        if time.perf_counter() - start > seconds: break
    return n / (time.perf_counter() - start)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=4000, help='images in the file')
    p.add_argument('--size', type=int, default=64, help='side of an image')
    p.add_argument('--bs', type=int, default=32, help='images in a random batch')
    p.add_argument('--seconds', type=float, default=1., help='time per measurement')
    p.add_argument('--content', nargs='+', default=['scenes', 'photos'], choices=['scenes', 'photos'])
    a = p.parse_args()
    rng = np.random.default_rng(1)
    singles = [(int(i), 1) for i in rng.integers(0, a.n, 20_000)]
    batches = [(np.sort(rng.choice(a.n, a.bs, replace=False)), a.bs) for _ in range(4000)]
    blocks = [(slice(i, i + 256), min(256, a.n - i)) for i in range(0, a.n, 256)] * 50
    with tempfile.TemporaryDirectory(dir='.') as folder:
        path = Path(folder)/'f.h5'
        for kind in a.content:
            images, labels = content(kind, a.n, a.size)
            print(f'\n{kind}: {a.n} images of {a.size} × {a.size}, {(images.nbytes + labels.nbytes)/1e6:.0f} MB of bytes; thousands of images/s')
            print(f'{"layout, reader":34} {"size":>6} {"single":>8} {"batch":>8} {"in order":>9} {"batch, cold":>12}')
            def row(name, reads):
                single, batch, order = reads
                r = (rate(single, singles, a.seconds, path), rate(batch, batches, a.seconds, path), rate(order, blocks, a.seconds, path), rate(batch, batches[:min(len(batches), a.n // a.bs // 2)], a.seconds, path, cold=True))
                print(f'{name:34} {path.stat().st_size/(images.nbytes + labels.nbytes):5.0%} ' + ' '.join(f'{v/1e3:{w}.1f}' for v, w in zip(r, (8, 8, 9, 12))), flush=True)
            for name, o in LAYOUTS:
                o = dict(o)
                chunk = o.pop('chunk', None)
                if path.exists(): path.unlink()
                with h5py.File(path, 'w') as f:
                    for key, v in (('images', images), ('labels', labels)): f.create_dataset(key, data=v, chunks=chunk and (chunk, *v.shape[1:]), **o)
                read = h5py_reader(path)
                got = read(batches[0][0])
                assert all(np.array_equal(g, v[batches[0][0]]) for g, v in zip(got, (images, labels)))
                row(f'{name}: h5py', (read, read, read))
                if chunk is None: row(f'{name}: h5py, one by one', (read, one_by_one(read), read))
            path.unlink()
            recipe = Recipe(img_size=a.size)
            write_store(path, [Scenes(images, labels, ['train']*a.n, [f'#{i}' for i in range(a.n)])], recipe)
            for check in (False, True):
                ds = SceneDataset(path, check=check)
                got = ds.read(batches[0][0])
                assert all(np.array_equal(g, v[batches[0][0]]) for g, v in zip(got, (images, labels)))
                read = lambda where: ds.read(np.arange(*where.indices(a.n)) if isinstance(where, slice) else np.atleast_1d(where))
                row(f'store: SceneDataset{", checked" if check else ", check=False"}', (read, read, read))


if __name__ == '__main__': main()
