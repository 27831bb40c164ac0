"""Loading: batches as the model gets them, against what copying the same bytes in memory and reading the same bytes from the file allow.

Run from the repository root: python benchmarks/loading.py [--n 8000] [--size 64] [--bs 32] [--device cuda]
"""
import argparse, os, sys, tempfile, time, warnings
from pathlib import Path
warnings.filterwarnings('ignore', category=FutureWarning)
import numpy as np, torch
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from genesis_v2.data.loaders import scene_dataloaders
from genesis_v2.data.recipe import Recipe, Scenes
from genesis_v2.data.sprites import sprites_dataset
from genesis_v2.data.store import SceneDataset, write_store


def rate(batches, n_per_batch, device, seconds):
    "Images per second; waits for the device at both ends"
    it, n = iter(batches), 0
    next(it)
    wait = torch.cuda.synchronize if device.type == 'cuda' else lambda: None
    wait(); start = time.perf_counter()
    for _ in it:
        n += n_per_batch
        if n % (64*n_per_batch) == 0 and time.perf_counter() - start > seconds: break
    wait()
    return n / (time.perf_counter() - start)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=8000, help='images in the store')
    p.add_argument('--size', type=int, default=64, help='side of an image')
    p.add_argument('--bs', type=int, default=32, help='images in a batch')
    p.add_argument('--seconds', type=float, default=2., help='time per measurement')
    p.add_argument('--rounds', type=int, default=3, help='measurements of each, of which the best counts')
    p.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    p.add_argument('--workers', type=int, nargs='+', default=[0, 1, 2])
    a = p.parse_args()
    device = torch.device(a.device)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir='.') as folder:
        images, labels = sprites_dataset(img_size=a.size).batch(range(a.n))
        path = write_store(Path(folder)/'scenes.h5', [Scenes(images.permute(0, 2, 3, 1).numpy(), labels.numpy(), ['train']*a.n, [str(i) for i in range(a.n)])], Recipe(img_size=a.size))
        order = [torch.from_numpy(np.random.default_rng(i).choice(a.n, a.bs, replace=False)) for i in range(200)]*1000
        flat_images, flat_labels = (torch.empty((a.n, a.size**2*k), dtype=torch.uint8, device=device).random_() for k in (3, 1))
        on = [o.to(device) for o in order[:200]]*1000
        fd, size = os.open(path, os.O_RDONLY), a.size**2*4
        buffer = bytearray(size)
        def raw():
            for o in order:
                for i in o.tolist(): os.preadv(fd, [buffer], 4096 + i*size)
                yield
        def gather(): yield from ((flat_images.index_select(0, o), flat_labels.index_select(0, o)) for o in on)
        def floats(): yield from ((x.float() / 255, y.long()) for x, y in gather())
        ds = SceneDataset(path)
        def loader(**kwargs):
            dls = scene_dataloaders(path, bs=a.bs, device=device, n_valid=64, **kwargs)
            return lambda: dls.train.between(0, 10**5 // a.bs * 10)
        ways = [('limit: gather bytes on the device', gather), ('limit: gather them, make floats and longs', floats), ('limit: read bytes from the page cache', raw),
                ('store alone: SceneDataset.batch', lambda: (ds.batch(o) for o in order)), ('loader: on the device', loader(on_device=True)), ('loader: on the device, mirrored', loader(on_device=True, flips=True))]
        ways += [(f'loader: lazy, {w} workers', loader(on_device=False, workers=w)) for w in a.workers]
        best = dict.fromkeys((what for what, _ in ways), 0.)
        for _ in range(a.rounds):                                        # in turn, so that a busy spell of the machine hits all of them
            for what, make in ways: best[what] = max(best[what], rate(make(), a.bs, device, a.seconds))
        os.close(fd)
        rows = list(best.items())
        name = torch.cuda.get_device_name(device) if device.type == 'cuda' else f'CPU, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}'
        print(f'{a.n} images of {a.size} × {a.size} with labels, batches of {a.bs}; {name}')
        print(f'{"":44} {"images/s":>10} {"/ gather":>9} {"/ floats":>9} {"/ read":>7}')
        for what, r in rows: print(f'{what:44} {r:10,.0f} {r/rows[0][1]:9.0%} {r/rows[1][1]:9.0%} {r/rows[2][1]:7.0%}')


if __name__ == '__main__': main()
