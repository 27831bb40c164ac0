"""Fuzz the readers of picture files: damaged PNGs and JPEGs through `read_picture`, `read_label_map` and the recipes made of picture files.

Run from the repository root: python benchmarks/fuzz_pictures.py [--n 20000] [--seed 0] [--memory 1024] [--recipes shapestacks apc clevrtex folders]

What must hold for every mutant: a `BadFile` or an array of the right type and size, nothing else; less than `--slow` seconds; never more memory than `--memory` MiB beyond what the
libraries need (a limit of the operating system, so that exceeding it is an error here). A PNG of which bits were changed is refused or gives the very same picture. Of a mutant whose checksums were
made right again nothing is known but that reading it must not do harm.
"""
import argparse, io, struct, sys, tempfile, time, warnings, zlib
from collections import Counter
from pathlib import Path
import numpy as np
from PIL import Image
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from genesis_v2.data.recipe import BadFile, read_label_map, read_picture

SIGNATURE = b'\x89PNG\r\n\x1a\n'


def png_of(array, mode=None, **kwargs):
    "Bytes of a PNG"
    out, image = io.BytesIO(), Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(out, 'PNG', **kwargs)
    return out.getvalue()


def seeds(rng):
    "Small pictures and label maps of every kind that the readers take: name → (bytes, is it a PNG?)"
    blocky = rng.integers(0, 7, (6, 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    photo = (np.add.outer(np.arange(48), np.arange(64))[..., None]*[2, 1, .5] + rng.normal(0, 20, (48, 64, 3))).clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(photo).save(out, 'JPEG', quality=85)
    progressive = io.BytesIO()
    Image.fromarray(photo).save(progressive, 'JPEG', quality=85, progressive=True)
    noisy_idat = split_idat(png_of(photo), 500)
    return {'rgb': png_of(photo), 'rgba': png_of(photo, 'RGBA'), 'grey': png_of(blocky*32), 'palette': png_of(blocky, 'P'), 'one bit': png_of((blocky > 3)*np.uint8(255), '1'),
            'grey as rgba': png_of(blocky*32, 'RGBA'), 'stored': png_of(photo, compress_level=0), 'many chunks': noisy_idat, 'jpeg': out.getvalue(), 'progressive jpeg': progressive.getvalue()}


def chunks(png):
    "Chunks of a PNG as [kind, body]"
    pos, res = 8, []
    while pos + 12 <= len(png):
        n, kind = struct.unpack_from('>I4s', png, pos)
        res.append([kind, png[pos + 8:pos + 8 + n]])
        pos += 12 + n
    return res


def join(parts): return SIGNATURE + b''.join(struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body)) for kind, body in parts)


def split_idat(png, size):
    "The same picture with its pixels in chunks of `size` bytes"
    return join([[k, b[i:i + size]] for k, b in chunks(png) for i in (range(0, len(b), size) if k == b'IDAT' else [0])])


def flip(data, rng, seed_files):
    "Change one to eight bits"
    d = bytearray(data)
    for bit in rng.integers(0, 8*len(d), rng.integers(1, 9)).tolist(): d[bit // 8] ^= 1 << bit % 8
    return bytes(d)

def smear(data, rng, seed_files):
    "Overwrite a run of bytes"
    at, n = int(rng.integers(0, len(data))), int(rng.integers(1, 200))
    return data[:at] + (bytes(n) if rng.random() < .5 else rng.bytes(n)) + data[at + n:]

def cut(data, rng, seed_files):
    "End too early"
    return data[:rng.integers(0, len(data))]

def insert(data, rng, seed_files):
    "Some bytes too many, or the same bytes twice"
    at, n = int(rng.integers(0, len(data))), int(rng.integers(1, 64))
    return data[:at] + (rng.bytes(n) if rng.random() < .5 else data[at:at + n]) + data[at:]

def splice(data, rng, seed_files):
    "The beginning of one file, the end of another"
    other = seed_files[rng.integers(len(seed_files))]
    return data[:rng.integers(0, len(data))] + other[rng.integers(0, len(other)):]

EVIL = [0, 1, 2, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1]

def hostile_header(data, rng, seed_files):
    "Sizes, depths and colour types that lie, with a right checksum (in a JPEG: the frame header)"
    if not data.startswith(SIGNATURE):
        at = next((i for i in range(len(data) - 9) if data[i] == 255 and data[i + 1] in (0xC0, 0xC2)), None)
        if at is None: return data[:50]
        return data[:at + 5] + struct.pack('>HH', *rng.integers(0, 65536, 2).tolist()) + data[at + 9:]
    parts = chunks(data)
    head = list(struct.unpack('>IIBBBBB', parts[0][1]))
    for _ in range(rng.integers(1, 4)):
        i = int(rng.integers(0, 7))
        head[i] = int(rng.choice(EVIL)) if i < 2 else int(rng.choice([0, 1, 2, 3, 4, 6, 8, 16, 255]))
    parts[0][1] = struct.pack('>IIBBBBB', *head)
    return join(parts)

def reorder(data, rng, seed_files):
    "Chunks dropped, doubled, swapped, renamed, taken from other files or filled with a bomb, each with a right checksum"
    if not data.startswith(SIGNATURE): return splice(data, rng, seed_files)
    parts, others = chunks(data), [c for s in seed_files if s.startswith(SIGNATURE) for c in chunks(s)]
    for _ in range(rng.integers(1, 4)):
        i, what = int(rng.integers(0, len(parts))), rng.integers(0, 8)
        if what == 0 and len(parts) > 1: del parts[i]
        elif what == 1: parts.insert(i, list(parts[i]))
        elif what == 2: j = int(rng.integers(0, len(parts))); parts[i], parts[j] = parts[j], parts[i]
        elif what == 3: parts.insert(i, list(others[rng.integers(len(others))]))
        elif what == 4: parts[i] = [[b'IHDR', b'PLTE', b'IDAT', b'IEND', b'tRNS', b'zTXt', b'iCCP', b'iTXt', b'eXIf', b'acTL', b'fcTL', b'fdAT', b'gAMA', b'sBIT', b'pHYs'][rng.integers(15)], parts[i][1]]
        elif what == 5: parts[i] = [parts[i][0], parts[i][1][:rng.integers(0, len(parts[i][1]) + 1)]]
        elif what == 6: parts.insert(1, [b'zTXt', b'a\0\0' + zlib.compress(bytes(2**22), 9)] if rng.random() < .5 else [b'iCCP', b'a\0\0' + zlib.compress(bytes(2**22), 9)])
        else: parts = [[k, zlib.compress(bytes(2**22), 9)] if k == b'IDAT' else [k, b] for k, b in parts]
    return join(parts)

def recompress(data, rng, seed_files):
    "Other pixels, or too few or too many of them, packed and signed as they should be"
    if not data.startswith(SIGNATURE): return smear(data, rng, seed_files)
    parts = chunks(data)
    try: pixels = zlib.decompress(b''.join(b for k, b in parts if k == b'IDAT'))
    except zlib.error: return data
    pixels = bytearray(pixels[:rng.integers(0, len(pixels) + 1)] if rng.random() < .5 else pixels + bytes(100))
    for i in rng.integers(0, max(1, len(pixels)), rng.integers(0, 50)).tolist():
        if pixels: pixels[i] = rng.integers(0, 256)
    first = next(i for i, (k, _) in enumerate(parts) if k == b'IDAT')
    parts = [c for c in parts if c[0] != b'IDAT']
    return join(parts[:first] + [[b'IDAT', zlib.compress(bytes(pixels))]] + parts[first:])

RAW, SIGNED = [flip, smear, cut, insert, splice], [hostile_header, reorder, recompress]


slowest = 0. # seconds that the slowest reading took

def attempt(read, slow):
    "Result or 'refused'; anything but a `BadFile`, or a reading that takes too long, is a failure"
    global slowest
    start = time.perf_counter()
    try: res = read()
    except BadFile as e:
        res = 'refused'
        assert '\n' not in str(e) and len(str(e)) < 1000, f'message of {len(str(e))} characters: {e}'
    slowest = max(slowest, seconds := time.perf_counter() - start)
    assert seconds < slow, f'took {seconds:.1f} s'
    return res


def readers_run(n, seed, slow, folder):
    "Mutants through `read_picture` and `read_label_map`; Counter of outcomes"
    rng, tally, path = np.random.default_rng(seed), Counter(), Path(folder)/'mutant.map'
    originals = seeds(rng)
    names, files = list(originals), list(originals.values())
    reads = {'picture': read_picture, 'map': read_label_map}
    right = {}
    for name, data in originals.items():
        path.write_bytes(data)
        for kind, read in reads.items(): right[name, kind] = attempt(lambda: read(path), slow)
    for trial in range(n):
        name, kind = names[rng.integers(len(names))], ('picture', 'map')[rng.integers(2)]
        how = (RAW + SIGNED)[rng.integers(len(RAW) + len(SIGNED))]
        data = how(originals[name], rng, files)
        path.write_bytes(data)
        try: res = attempt(lambda: reads[kind](path), slow)
        except BaseException as e: raise AssertionError(f'seed {seed}, trial {trial}: {how.__name__} of {name} read as {kind}: {type(e).__name__}: {e}') from e
        if not isinstance(res, str):
            assert res.dtype == np.uint8 and res.ndim == {'picture': 3, 'map': 2}[kind] and res.size, f'trial {trial}: {res.dtype} {res.shape}'
            same = data == originals[name] or np.array_equal(res, right[name, kind])
            if how in RAW and data.startswith(SIGNATURE) and how is not splice: assert same, f'seed {seed}, trial {trial}: {how.__name__} of {name} gives another {kind} without a word'
            res = 'same' if same else f'other ({"signed" if how in SIGNED else "jpeg" if "jpeg" in name else "spliced"})'
        tally[f'{how.__name__}: {res}'] += 1
    return tally


def tree_of(recipe, rng, folder):
    "A tiny raw folder for one recipe; the recipe, the files that matter"
    folder = Path(folder)
    def put(path, data): (folder/path).parent.mkdir(parents=True, exist_ok=True); (folder/path).write_bytes(data); return folder/path
    def photo(w, h): return (np.add.outer(np.arange(h), np.arange(w))[..., None]*[.4, .3, .2] + rng.normal(0, 5, (h, w, 3))).clip(0, 255).astype(np.uint8)
    def blocky(w, h, top): return np.kron(rng.integers(0, top + 1, (h // 16, w // 16), dtype=np.uint8), np.ones((16, 16), np.uint8))
    if recipe == 'shapestacks':
        from genesis_v2.data.shapestacks import ShapeStacks
        scenario = 'env_ccs-easy-h=3-vcom=0-vpsf=0-v=1'
        files = put(f'recordings/{scenario}/rgb-w=0-f=0-l=0-c=original-cam_1-mono-0.png', png_of(photo(224, 224))), \
                put(f'iseg/{scenario}/iseg-w=0-f=0-l=0-c=original-cam_1-mono-0.map', png_of(blocky(224, 224, 6)*32, 'RGBA'))
        for split in ('train', 'eval', 'test'): put(f'splits/default/{split}.txt', (scenario + '\n').encode() if split == 'train' else b'')
        return ShapeStacks(folder), files
    if recipe == 'apc':
        from genesis_v2.data.apc import APC
        files = put('training/shelf/kong/scene-0000/frame-000000.color.png', png_of(photo(640, 480))), \
                put('training/shelf/kong/scene-0000/masks/frame-000000.mask.png', png_of((blocky(640, 480, 1))*255))
        (folder/'training/tote').mkdir()
        return APC(folder), files
    if recipe == 'folders':
        from genesis_v2.data.folders import Images
        files = put('cat.png', png_of(photo(80, 60), 'RGBA')), put('labels/cat.png', png_of(blocky(80, 48, 9).repeat(5, 0)[:60], 'P'))
        return Images(folder, img_size=64), files
    from genesis_v2.data.clevrtex import ClevrTex
    files = put('clevrtex_full/0/CLEVRTEX_full_000000.png', png_of(photo(320, 240), 'RGBA')), put('clevrtex_full/0/CLEVRTEX_full_000000_flat.png', png_of(blocky(320, 240, 10), 'P'))
    return ClevrTex(folder, count=1), files


def recipe_run(name, n, seed, slow, folder):
    "Mutants of one file at a time through `convert`; Counter of outcomes"
    rng, tally = np.random.default_rng(seed), Counter()
    recipe, files = tree_of(name, rng, folder)
    originals = [f.read_bytes() for f in files]
    work = [w for _, w in recipe.blocks()]
    assert len(work) == 1, f'{name}: {len(work)} blocks'
    right = recipe.convert(work[0]).check(recipe)
    for trial in range(n):
        i, how = int(rng.integers(len(files))), (RAW + SIGNED)[rng.integers(len(RAW) + len(SIGNED))]
        data = how(originals[i], rng, originals)
        files[i].write_bytes(data)
        try: res = attempt(lambda: recipe.convert(work[0]).check(recipe), slow)
        except BaseException as e: raise AssertionError(f'seed {seed}, trial {trial}: {how.__name__} of {files[i].name} in {name}: {type(e).__name__}: {e}') from e
        if not isinstance(res, str):
            same = np.array_equal(res.images, right.images) and np.array_equal(res.labels, right.labels)
            if how in RAW and how is not splice: assert same, f'seed {seed}, trial {trial}: {how.__name__} of {files[i].name} in {name} gives another scene without a word'
            res = 'same' if same else 'other (signed)' if how in SIGNED else 'other (spliced)'
        tally[f'{name}, {how.__name__}: {res}'] += 1
        files[i].write_bytes(originals[i])
    return tally


def limit_memory(mib):
    "From here on this process gets no more than `mib` MiB beyond what it has (Linux)"
    import resource
    pages = int(Path('/proc/self/statm').read_text().split()[0]) if Path('/proc/self/statm').exists() else 0
    limit = pages*resource.getpagesize() + mib*2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def run(n=20_000, seed=0, slow=5., memory=None, recipes=('shapestacks', 'apc', 'clevrtex', 'folders')):
    "The whole of it; Counter of outcomes"
    for name in recipes: __import__(f'genesis_v2.data.{name}')
    if memory: limit_memory(memory)
    share, tally = n // 6, Counter()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore') # Pillow warns of large or odd pictures; whether they do harm is what is tested
        for i, name in enumerate(recipes): tally += recipe_run(name, share, seed + i, slow, Path(folder)/name)
        tally += readers_run(n - share*len(recipes), seed, slow, folder)
    assert sum(tally.values()) == n
    return tally


def child(conn, *args):
    import resource
    try:
        __import__('genesis_v2.data.recipe')
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        conn.send((run(*args), slowest, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))
    except BaseException as e: conn.send(f'{type(e).__name__}: {e}')


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=20_000, help='mutants')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--slow', type=float, default=5., help='seconds that reading one file may take')
    p.add_argument('--memory', type=int, default=1024, help='MiB that reading may take')
    p.add_argument('--recipes', nargs='*', default=['shapestacks', 'apc', 'clevrtex', 'folders'])
    a = p.parse_args()
    import multiprocessing
    ours, theirs = multiprocessing.get_context('spawn').Pipe()
    start = time.perf_counter()
    process = multiprocessing.get_context('spawn').Process(target=child, args=(theirs, a.n, a.seed, a.slow, a.memory, tuple(a.recipes))) # a crash or a hang is then seen from outside
    process.start()
    theirs.close()
    try: res = ours.recv()
    except EOFError: process.join(); res = f'the process died with exit code {process.exitcode}'
    process.join()
    if isinstance(res, str): sys.exit(f'FAILED: {res}')
    res, seconds, mib = res
    width = max(map(len, res))
    for k in sorted(res): print(f'{k:{width}} {res[k]:7,}')
    print(f'{sum(res.values()):,} mutants (seed {a.seed}): refused or read, nothing else; {time.perf_counter() - start:.0f} s. '
          f'The slowest took {seconds*1000:.0f} ms; memory grew by {mib:.0f} MiB at most (allowed: {a.memory})')


if __name__ == '__main__': main()
