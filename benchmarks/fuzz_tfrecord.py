"""Mutated TFRecord files, Examples and scenes through the readers: only `BadFile` may come out, soon and with little memory.

Run from the repository root: python benchmarks/fuzz_tfrecord.py [--n 100000] [--seed 0]

Bits are flipped, files cut off, lengths replaced by hostile ones, messages spliced into one another; with the checksums left as they are, and with checksums
made right again, as somebody would who means harm. Where the checksums cover the change, reading must fail or give the very records that were written, up to the failure.
"""
import argparse, collections, io, resource, sys, tempfile, time, traceback, tracemalloc, zlib
from pathlib import Path
import numpy as np
from PIL import Image
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from genesis_v2.data.multi_object import CLEVR6, Tetrominoes, MultiDSprites, encode_scene
from genesis_v2.data.recipe import BadFile, centre_crop, resize_nearest
from genesis_v2.data.tfrecord import _field, _varint, decode_jpeg, encode_example, frame, parse_example, records, strings

SECONDS, MEGABYTES = 5., 48     # for one input, generous on a busy machine; the inputs are smaller than a megabyte


class Tiny(Tetrominoes): shape, mask_shape, img_size = (6, 6, 3), (4, 6, 6, 1), 8
class TinySprites(MultiDSprites): shape, mask_shape, img_size = (6, 6, 3), (6, 6, 5, 1), 8
class TinyCLEVR(CLEVR6): shape, mask_shape, img_size, crop = (8, 10, 3), (11, 8, 10, 1), 8, 8


def originals():
    "Records to start from: scenes of three data sets, and messages with every kind of list"
    rng = np.random.default_rng(0)
    scene = lambda kind: encode_scene(kind, rng.integers(0, 256, kind.shape), rng.integers(0, kind.mask_shape[kind.entity_axis], kind.shape[:2]))
    lists = dict(f=rng.normal(size=5), n=np.array([-1, -2**63, 300, 2**40, 5, 0]), ones=np.arange(4), s=[b'', b'abc', b'\n\x01'], jpeg=rng.bytes(400), image=rng.integers(0, 256, 30).astype(np.uint8), mask=[b'ab', b'cd'])
    return [scene(Tiny), scene(TinySprites), scene(TinyCLEVR), encode_example(lists), encode_example(lists, packed=False), b'']


def hostile(rng):
    "A number that a length may claim to be"
    return int(rng.choice([0, 1, 2, 127, 128, 2**14, 2**24, 2**24 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63 - 1])) if rng.random() < .9 else 2**64 - int(rng.integers(1, 200))


def mutate(rng, data, others):
    "Damage some bytes"
    data, how = bytearray(data), rng.integers(8)
    at = int(rng.integers(len(data) + 1))
    if how == 0:                                                                            # flip up to eight bits
        for i in rng.integers(0, max(len(data), 1), rng.integers(1, 9)):
            if i < len(data): data[i] ^= 1 << int(rng.integers(8))
    elif how == 1: del data[at:]                                                            # cut off
    elif how == 2: del data[at:at + int(rng.integers(1, 40))]                               # lose a piece
    elif how == 3: data[at:at] = rng.bytes(int(rng.integers(1, 40)))                        # gain one
    elif how == 4: data[at:at + int(rng.integers(1, 11))] = _varint(hostile(rng))           # a length
    elif how == 5: data[at:at + 8] = hostile(rng).to_bytes(8, 'little')
    elif how == 6:                                                                          # a piece of another one
        other = others[rng.integers(len(others))]
        a = int(rng.integers(len(other) + 1))
        data[at:at + int(rng.integers(60))] = other[a:a + int(rng.integers(200))]
    else: data[at:at] = bytes(data[at:at + int(rng.integers(1, 30))]) * int(rng.integers(1, 2000))  # again and again
    return bytes(data)


def nested(rng, others, depth=0):
    "A message of random fields, with some lengths that lie"
    out = b''
    for _ in range(rng.integers(1, 5)):
        kind, number = rng.integers(10), int(rng.choice([1, 1, 1, 2, 3, 7]))
        if kind < 5 and depth < 5: content = nested(rng, others, depth + 1)
        elif kind < 7: content = [b'image', b'mask', b'visibility', b'k'][rng.integers(4)]
        elif kind < 8: content = (_field(1, rng.bytes(int(rng.integers(3)))) * int(rng.integers(200)))
        else: out += _varint(number*8 + int(rng.integers(6))) + rng.bytes(int(rng.integers(12))); continue
        out += _field(number, content) if rng.random() < .95 else _varint(number*8 + 2) + _varint(hostile(rng)) + content
    return out


def gz(data, wbits=31):
    z = zlib.compressobj(1, wbits=wbits)
    return z.compress(data) + z.flush()


def read(file, skip=None):
    "The records of a file up to the first bad one, and the complaint"
    out = []
    try:
        for r in records(file, skip): out.append(r.data)
    except BadFile as e: return out, str(e)
    return out, None


def try_framing(rng, file, written, how):
    "A damaged file gives records that were written, in their order, or a complaint"
    some = [written[i] for i in rng.integers(0, len(written), rng.integers(1, 4))]
    data = b''.join(map(frame, some))
    if how == 'gzip': data = mutate(rng, gz(data), written)
    elif how == 'inside gzip': data = gz(mutate(rng, data, written))
    else: data = mutate(rng, data, written)
    file.write_bytes(data)
    out, complaint = read(file)
    for r in out:
        if r not in written: return f'a record came out that nobody wrote: {r[:40]!r}', None
    if complaint is None and how != 'inside gzip' and len(out) > len(some) + 2000: return 'more records than were written', None
    skipped, also = read(file, lambda i: i % 2 == 0)
    if complaint is None and (also is not None or [r for r in skipped if r is not None] != out[1::2]): return f'skipping changes the result: {also}', None
    return None, complaint


def fields(data):
    "Fields of a message as (number, wire type, content), the slow and obvious way: the referee, which shares no code with the reader"
    i, out = 0, []
    def number():
        nonlocal i
        n = 0
        for k in range(10):
            n |= (data[i] & 127) << 7*k
            i += 1
            if data[i-1] < 128: return n % 2**64
        raise ValueError('too long')
    while i < len(data):
        tag = number()
        if tag & 7 == 0: out.append((tag >> 3, 0, number())); continue
        n = {1: 8, 5: 4}[tag & 7] if tag & 7 != 2 else number()
        if i + n > len(data): raise ValueError('too short')
        out.append((tag >> 3, tag & 7, data[i:i + n]))
        i += n
    return out


def referee(data, keys=None):
    "Features of an Example, or those asked for, as lists"
    def inside(data, *numbers): return [(n, c) for n, w, c in fields(data) if w == 2 and n in numbers]
    def signed(n): return n - 2**64 if n >= 2**63 else n
    found = {}
    for _, features in inside(data, 1):
        for _, entry in inside(features, 1):
            key, value = b'', b''
            for n, c in inside(entry, 1, 2): key, value = (c, value) if n == 1 else (key, value + c)
            if keys is None or key.decode(errors='replace') in keys: found[key.decode(errors='replace')] = value
    for key, value in found.items():
        kind, content = 1, b''
        for n, c in inside(value, 1, 2, 3): kind, content = n, c if n != kind else content + c
        if kind == 1: found[key] = [c for _, c in inside(content, 1)]
        elif kind == 2: found[key] = b''.join(c for n, w, c in fields(content) if n == 1 and w in (2, 5))
        else:
            found[key] = out = []
            for n, w, c in fields(content):
                if n == 1 and w == 0: out.append(signed(c))
                if n == 1 and w == 2: out.extend(signed(v) for _, _, v in fields(b''.join(b'\x08' + c[a:b] for a, b in _pieces(c))))
    return found


def _pieces(c):
    "Where the numbers of a packed list start and end"
    ends = [i + 1 for i, v in enumerate(c) if v < 128]
    return zip([0] + ends, ends)


def plain(v): return strings(v) if isinstance(v, list) or v.dtype == np.uint8 else v.tobytes() if v.dtype == np.float32 else v.tolist()


def try_forged(rng, file, written, how):
    "Anything with good checksums: the message is refused, or read as the referee reads it"
    data = nested(rng, written) if how == 'nested' else mutate(rng, written[rng.integers(len(written))], written)
    if how == 'headers':                                                                    # a length whose checksum is right
        data = hostile(rng).to_bytes(8, 'little')
        data += frame(data)[-4:] + rng.bytes(int(rng.integers(60)))
    else: data = frame(data)
    file.write_bytes(gz(data) if rng.random() < .3 else data)
    out, complaint = read(file)
    for r in out:
        try: got = {k: plain(v) for k, v in parse_example(r).items()}
        except BadFile as e: complaint = str(e); continue
        if got != referee(r): return f'read {got}, but it is {referee(r)}'[:1000], None
        for keys in (['image', 'mask'], ['f', 'n', 's', 'k']):
            try: some = parse_example(r, keys)
            except BadFile: continue
            if any(plain(some[k]) != got[k] for k in keys): return 'other values if only some keys are asked for', None
    return None, complaint


def try_recipe(rng, file, written, how):
    "Forged records through a recipe: a complaint, or the scenes that the referee's lists give"
    which = int(rng.integers(3))
    recipe = (Tiny, TinySprites, TinyCLEVR)[which](file.parent)
    data = [mutate(rng, written[which], written) if rng.random() < .7 else written[which] for _ in range(2)]
    (file.parent/recipe.files[0].path).write_bytes(gz(b''.join(map(frame, data))))
    try: scenes = [recipe.convert(work).check(recipe) for _, work in recipe.blocks()]
    except BadFile as e: return None, str(e)
    for s in scenes:
        for image, label, source in zip(s.images, s.labels, s.source):
            lists = referee(data[int(source.split('#')[1])], ['image', 'mask'])
            want, masks = (np.frombuffer(b''.join(lists[k]), np.uint8).reshape(shape) for k, shape in (('image', recipe.shape), ('mask', recipe.mask_shape)))
            labels = np.moveaxis(masks[..., 0], recipe.entity_axis, 0).argmax(0)
            if recipe.crop: want, labels = centre_crop(want, recipe.crop, channels=True), centre_crop(labels, recipe.crop)
            if not np.array_equal(image, resize_nearest(want, 8, channels=True)) or not np.array_equal(label, resize_nearest(labels, 8)): return f'another image or other labels: {source}', None
    return None, None


def try_jpeg(rng, file, written, how):
    "A damaged JPEG gives a picture of the size asked for, or a complaint"
    buf = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(buf, 'JPEG')
    try: picture = decode_jpeg(mutate(rng, buf.getvalue(), written), (24, 32))
    except BadFile as e: return None, str(e)
    return (None if picture.shape == (24, 32, 3) and picture.dtype == np.uint8 else f'{picture.shape}'), None


CASES = [(try_framing, 'plain'), (try_framing, 'gzip'), (try_framing, 'inside gzip'), (try_forged, 'mutated'), (try_forged, 'nested'), (try_forged, 'headers'), (try_recipe, 'recipe'), (try_jpeg, 'jpeg')]


def fuzz(n=100_000, seed=0, progress=None):
    "Try n inputs; what came of them, with the failures as (number of the input, case, what happened)"
    written, failures, refused, slowest, largest = originals(), [], collections.Counter(), (0., None), (0., None)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder)/'case.tfrecords'
        for i in range(n):
            rng = np.random.default_rng([seed, i])                  # so that input i can be made again alone
            f, how = CASES[i % len(CASES)]
            measured = i // len(CASES) % 10 == 0                    # tracing memory is slow: every tenth of each kind
            if measured: tracemalloc.start()
            start = time.perf_counter()
            try: problem, complaint = f(rng, file, written, how)
            except Exception as e: problem, complaint = ''.join(traceback.format_exception(e)[-3:]), None
            seconds = time.perf_counter() - start
            if measured: largest = max(largest, (tracemalloc.get_traced_memory()[1] / 2**20, i)); tracemalloc.stop()
            slowest = max(slowest, (seconds, i))
            refused[how] += complaint is not None
            if problem: failures.append((i, how, problem))
            if seconds > SECONDS: failures.append((i, how, f'took {seconds:.1f} s'))
            if measured and largest[0] > MEGABYTES: failures.append((i, how, f'took {largest[0]:.0f} MB')); largest = (0., None)
            if progress and i % 10_000 == 9_999: progress(i + 1)
    return dict(inputs=n, refused=sum(refused.values()), by_kind=dict(refused), slowest=slowest, largest=largest, failures=failures)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=100_000, help='inputs')
    p.add_argument('--seed', type=int, default=0)
    a = p.parse_args()
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize() if Path('/proc/self/statm').exists() else 0
    if used: resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.RLIM_INFINITY))        # a quarter of a gigabyte more than now, for all of it
    start = time.perf_counter()
    r = fuzz(a.n, a.seed, lambda i: print(f'{i:,} inputs, {i/(time.perf_counter() - start):,.0f}/s', flush=True))
    print(f"{r['inputs']:,} inputs, {r['refused']:,} refused ({', '.join(f'{k} {v:,}' for k, v in r['by_kind'].items())}), the others read")
    print(f"slowest: {r['slowest'][0]*1e3:.0f} ms (input {r['slowest'][1]}); most memory traced: {r['largest'][0]:.1f} MB (input {r['largest'][1]}); peak of the process: "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024:.0f} MB")
    for i, how, problem in r['failures'][:10]: print(f'input {i} ({how}): {problem}')
    print(f"{len(r['failures'])} failures")
    return 1 if r['failures'] else 0


if __name__ == '__main__': sys.exit(main())
