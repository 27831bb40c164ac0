"""Fuzzing the store: damaged files through `SceneDataset`. Every changed byte has to end in `BadFile`.

Mutants: bit flips, cuts, appended bytes, runs of zeros or noise, pieces copied elsewhere; and forgeries, which change the header or the small arrays and put
matching checksums on top. A forged file may lie about what is in which split, but it must not crash, hang, use much memory or end in another exception.
Child processes do the reading, so that a crash, a hang or a memory blow-up is seen, and counted, by the parent.

Run from the repository root: python benchmarks/fuzz_store.py [--n 20000] [--seed 0] [--h5py N]
"""
import argparse, collections, hashlib, json, os, random, resource, signal, subprocess, sys, tempfile, time, traceback
from pathlib import Path
import numpy as np
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from genesis_v2.data.recipe import BadFile, Recipe, Scenes
from genesis_v2.data.store import SceneDataset, _hash_rest, _user_block, read_header, write_store

SIDE, N = 8, 24
HOSTILE = [0, 1, -1, 7, 255, 2**31, 2**32 - 1, 2**63, 10**30, 1.5, 1e308, None, True, False, '', 'train', [], {}, [0, 0], [[0]], '9'*50]


def scenes(labels):
    rng = np.random.default_rng(0)
    return Scenes(rng.integers(0, 256, (N, SIDE, SIDE, 3), dtype=np.uint8), rng.integers(0, 5, (N, SIDE, SIDE), dtype=np.uint8) if labels else None,
                  ['train', 'valid', 'test']*(N // 3), [f'folder/file#{i}' for i in range(N)])


def recipe(labels): return type('Fuzz', (Recipe,), dict(name='fuzz', img_size=SIDE, has_labels=labels))()


def strange(rng, value):
    "Replace something, somewhere in a JSON value"
    if isinstance(value, (dict, list)) and value and rng.random() < .7:
        value = value.copy()
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        k = rng.choice(keys)
        if rng.random() < .1: del value[k]
        else: value[k] = strange(rng, value[k])
        return value
    if isinstance(value, int) and rng.random() < .5: return value + rng.choice([-4096, -8, -1, 1, 2, 8, 4096, 2**40])
    return rng.choice(HOSTILE)


def mutate(rng, good, header):
    "Bytes of a damaged store, the kind of damage, and whether its checksums were forged"
    data, kind = bytearray(good), rng.choice(['flip', 'flip', 'flips', 'cut', 'append', 'zeros', 'noise', 'copy', 'first line', 'forged header', 'forged arrays'])
    where = rng.choice([(0, 200), (0, header['user_block']), (header['user_block'], len(data)), (0, len(data))])
    at = lambda: rng.randrange(*where)
    if kind == 'flip': data[at()] ^= 1 << rng.randrange(8)
    elif kind == 'flips':
        for _ in range(rng.randrange(2, 30)): data[at()] ^= 1 << rng.randrange(8)
    elif kind == 'cut': del data[at():]
    elif kind == 'append': data += rng.randbytes(rng.randrange(1, 5000))
    elif kind in ('zeros', 'noise', 'copy'):
        a, n = at(), rng.randrange(1, 3000)
        b = rng.randrange(len(data))
        n = min(n, len(data) - max(a, b))
        data[a:a+n] = bytes(n) if kind == 'zeros' else rng.randbytes(n) if kind == 'noise' else data[b:b+n]
    elif kind == 'first line':
        parts = data[:data.index(b'\n')].split(b' ')
        parts[rng.randrange(len(parts))] = rng.choice([b'', b'-1', b'0', b'2', b'9'*30, b'\xff', b'1e9', b'4096', rng.randbytes(8), b'genesis_v2'])
        data[:data.index(b'\n')] = b' '.join(parts)
    elif kind == 'forged header':
        h = header
        for _ in range(rng.choice([1, 1, 2, 5])):
            h = strange(rng, h)
            if not isinstance(h, dict): break
        text = json.dumps(h).encode() if rng.random() < .95 else rng.choice([b'[' * 100_000, b'{"n": NaN}', b'\xff\xfe', b'{}', b'[]', b'1' * 5000])
        data = (b'genesis_v2 store %d %d %s\n' % (1, len(text), hashlib.sha256(text).hexdigest().encode()) + text + b'\n\n').ljust(header['user_block'], b'\0') + data[header['user_block']:]
    else:                                                                # splits, CRCs, sources or HDF5's own bytes, with a hash that fits
        images = [v for k, v in header['arrays'].items() if k in ('images', 'labels')]
        places = [i for i in range(header['user_block'], len(data)) if not any(a <= i < a + n for a, n in images)]
        small = [i for k, (a, n) in header['arrays'].items() if k not in ('images', 'labels') for i in range(a, a + n)]
        for _ in range(rng.randrange(1, 20)): data[rng.choice(rng.choice([places, small]))] = rng.randrange(256)
        import io
        h = header | dict(rest_sha256=_hash_rest(io.BytesIO(bytes(data)), header))
        data[:header['user_block']] = _user_block(h, header['user_block'])
    return bytes(data), kind, kind.startswith('forged')


def read(path, truth, forged):
    "Read everything there is; what happened, in a word"
    images = labels = None
    try:
        for split in ('train', 'valid', 'test', None):
            try: ds = SceneDataset(path, split)
            except ValueError as e:
                if forged and not isinstance(e, BadFile) and 'has no split' in str(e): continue
                raise
            images, labels = ds.read(range(len(ds)))
            sources = [ds.source(i) for i in range(0, len(ds), 5)]
            if not forged:
                i = range(N) if split is None else range(['train', 'valid', 'test'].index(split), N, 3)
                assert np.array_equal(images, truth.images[i]) and (labels is None) == (truth.labels is None) and (labels is None or np.array_equal(labels, truth.labels[i])), f'WRONG IMAGES in {split}'
                assert sources == [truth.source[k] for k in list(i)[::5]], f'WRONG SOURCES in {split}'
        ds.verify()
        ds.export_splits(Path(path).parent/'splits')
    except BadFile: return 'BadFile'
    return 'forgery read' if forged else 'read'


def child(seed, first, count):
    resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
    tally = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        stores = []
        for labels in (True, False):
            path = write_store(Path(folder)/'good.h5', [scenes(labels)], recipe(labels))
            stores.append((path.read_bytes(), read_header(path), scenes(labels)))
        path = Path(folder)/'mutant.h5'
        for i in range(first, first + count):
            rng = random.Random(seed*10**9 + i)
            good, header, truth = stores[i % 2]
            data, kind, forged = mutate(rng, good, header)
            path.write_bytes(data)
            start = time.perf_counter()
            try: what = read(path, truth, forged)
            except BaseException as e: what = f'FAILED mutant {i}: {traceback.format_exc(limit=-2)}'
            if time.perf_counter() - start > 20: what = f'FAILED mutant {i}: took {time.perf_counter() - start:.0f} s'
            if what == 'read': what = 'no change' if data == good else f'FAILED mutant {i}: {kind}, not noticed'
            tally[f'{kind}: {what}'] += 1
    print(json.dumps(tally))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def with_h5py(n, seed):
    "For comparison: flipped bits outside images and labels, read by HDF5 itself, each in a process of its own"
    import h5py
    tally = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        good, truth, path = write_store(Path(folder)/'good.h5', [scenes(True)], recipe(True)), scenes(True), Path(folder)/'mutant.h5'
        data, header = good.read_bytes(), read_header(good)
        images = [header['arrays'][k] for k in ('images', 'labels')]
        places = [i for i in range(header['user_block'], len(data)) if not any(a <= i < a + size for a, size in images)]
        for i in range(n):
            rng, mutant = random.Random(seed*10**9 + i), bytearray(data)
            for _ in range(rng.choice([1, 1, 3])): mutant[rng.choice(places)] ^= 1 << rng.randrange(8)
            path.write_bytes(mutant)
            pid = os.fork()
            if not pid:
                signal.alarm(10)
                try:
                    with h5py.File(path) as f: right = np.array_equal(f['images'][:], truth.images) and np.array_equal(f['labels'][:], truth.labels) and np.array_equal(f['split'][:], np.arange(N) % 3) and len(f['source'][:]) + len(dict(f.attrs))
                    os._exit(0 if right else 2)
                except Exception: os._exit(1)
            status = os.waitpid(pid, 0)[1]
            tally[f'ended by signal {os.WTERMSIG(status)}' if os.WIFSIGNALED(status) else ('read rightly', 'exception', 'read WRONGLY')[os.WEXITSTATUS(status)]] += 1
    print(f'{n} stores with 1 to 3 flipped bits outside images and labels, read by h5py {h5py.__version__} (HDF5 {h5py.version.hdf5_version}): {dict(tally)}')


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=20_000, help='mutants')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--per-child', type=int, default=1000, help='mutants per child process')
    p.add_argument('--h5py', type=int, metavar='N', help='for comparison: N damaged stores through h5py instead')
    p.add_argument('--child', type=int, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.h5py: return with_h5py(a.h5py, a.seed)
    if a.child is not None: return child(a.seed, a.child, min(a.per_child, a.n - a.child))
    tally, failed, memory, start = collections.Counter(), [], 0, time.time()
    for first in range(0, a.n, a.per_child):
        command = [sys.executable, __file__, '--n', str(a.n), '--seed', str(a.seed), '--per-child', str(a.per_child), '--child', str(first)]
        try: done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        except subprocess.TimeoutExpired: failed.append(f'HANG among mutants {first} to {first + a.per_child - 1}'); continue
        if done.returncode: failed.append(f'CRASH (exit code {done.returncode}) among mutants {first} to {first + a.per_child - 1}: {done.stderr[-500:]}'); continue
        lines = done.stdout.splitlines()
        tally.update(json.loads(lines[-2]))
        memory = max(memory, int(lines[-1]))
    kinds = collections.defaultdict(dict)
    for key, n in tally.items():
        kind, what = key.split(': ', 1)
        if what.startswith('FAILED'): failed.append(what)
        else: kinds[kind][what] = n
    print(f'{"damage":15} {"BadFile":>9} {"no change":>10} {"forgery read":>13}')
    for kind, row in sorted(kinds.items()): print(f'{kind:15} ' + ' '.join(f'{row.get(k, 0):{w}}' for k, w in (('BadFile', 9), ('no change', 10), ('forgery read', 13))))
    print(f'{sum(tally.values())} mutants, seed {a.seed}: {len(failed)} failures; at most {memory/1024:.0f} MB per process; {time.time() - start:.0f} s')
    if failed: sys.exit('\n'.join(failed[:10]))


if __name__ == '__main__': main()
