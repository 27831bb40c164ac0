"""Damaged and hostile files through every reader of the package: a right answer or a clean refusal, soon and in little memory; nothing else.

Run from the repository root: python benchmarks/fuzz.py [--n 100000] [--seed 0] [--only NAME …] [--workers 2]

Bits are flipped, files cut off, lengths and sizes replaced by hostile ones, files spliced into one another; some inputs are damaged as chance would do it, others forged as somebody would who means
harm, with checksums that fit. Each input has a limit of time and of memory, and one process may die of it without ending the run. Outcomes:

refused    the reader raised an error of a kind that it declares, with one line that says what is wrong
unchanged  it gave exactly what was written
harmless   it gave something else, where no checksum could have told (a forgery, a JPEG, records in another order)
failure    anything else: another exception, a crash, too much time or memory, a file outside the folder, or a change that a checksum covers and nobody noticed

Input number I of a target depends on the seed and on I alone: python benchmarks/fuzz.py --only NAME --seed S --index I repeats it. `--h5py N` reads N damaged stores with HDF5 itself, for comparison.
"""
import argparse, bz2, collections, errno, functools, gzip, hashlib, io, itertools, json, lzma, math, multiprocessing, os, random, resource, shutil, signal, stat, struct, sys, tarfile, tempfile, time, traceback, types, warnings, zipfile, zlib
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple
import numpy as np
from PIL import Image, features
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from genesis_v2.data.recipe import BadFile, MissingRaw, Recipe, Scenes, centre_crop, read_label_map, read_picture, resize_nearest

SECONDS, HANG = 10., 60.     # of processor time and of the clock that one input may take: generous on a busy machine

# ---- What is tried

class Target(NamedTuple):
    "One reader, or a few that belong together"
    make: object # function (name, empty folder) → function of dice that tries one input and returns 'unchanged' or 'harmless'
    share: float # of the inputs, relative to the others'
    megabytes: int # that one input may take

TARGETS = {}

def target(*names, share, megabytes=128):
    "Decorator: enter a function in the table of targets"
    def add(make):
        TARGETS.update({name: Target(make, share, megabytes) for name in names})
        return make
    return add

class Refused(Exception): "The reader said no, as it may"

def read(f, *errors):
    "What f() returns; `Refused` if it raises one of these errors with a line that a person can use"
    try: return f()
    except errors or (BadFile, MissingRaw) as e:
        text, cause = str(e), e
        assert text and '\n' not in text and len(text) < 2500, f'a message of {len(text)} characters: {text[:300]!r}'
        while cause is not None:
            assert not isinstance(cause, MemoryError), f'ran out of memory before it said: {text}'
            cause = cause.__cause__ or cause.__context__
        raise Refused(text) from None

class Dice(random.Random):
    "Random numbers of one input, and what was done with them"
    how = ''
    def below(self, n): return self.randrange(n) if n > 0 else 0
    def chance(self, p): return self.random() < p

# ---- Damage that needs no knowledge of the format

NUMBERS = [0, 1, 2, 127, 128, 255, 256, 2**14, 2**15, 2**16 - 1, 2**16, 2**24, 2**24 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1]

def hostile(dice):
    "A number that a length may claim to be"
    return dice.choice(NUMBERS) if dice.chance(.9) else 2**64 - dice.randrange(1, 200)

def varint(n): return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])

def flip(dice, data, others):
    d = bytearray(data)
    for _ in range(dice.randrange(1, 9)):
        if d: d[dice.below(len(d))] ^= 1 << dice.randrange(8)
    return bytes(d)

def cut(dice, data, others): return data[:dice.below(len(data))]

def lose(dice, data, others):
    at = dice.below(len(data))
    return data[:at] + data[at + dice.randrange(1, 40):]

def smear(dice, data, others):
    at, n = dice.below(len(data)), dice.randrange(1, 400)
    return data[:at] + (bytes(n) if dice.chance(.5) else dice.randbytes(n))[:len(data) - at] + data[at + n:]

def insert(dice, data, others):
    at, n = dice.below(len(data) + 1), dice.randrange(1, 64)
    return data[:at] + (dice.randbytes(n) if dice.chance(.5) else data[at:at + n]) + data[at:]

def number(dice, data, others):
    at, n, how = dice.below(len(data) + 1), hostile(dice), dice.randrange(7)
    new = varint(n) if how == 0 else (n % 256**(size := (2, 4, 8)[how % 3])).to_bytes(size, 'little' if how < 4 else 'big')
    return data[:at] + new + data[at + (dice.randrange(1, 11) if how == 0 else len(new)):]

def splice(dice, data, others):
    other = dice.choice(others)
    if dice.chance(.5): return data[:dice.below(len(data) + 1)] + other[dice.below(len(other) + 1):]
    at, a = dice.below(len(data) + 1), dice.below(len(other) + 1)
    return data[:at] + other[a:a + dice.randrange(200)] + data[at + dice.randrange(60):]

def repeat(dice, data, others):
    at = dice.below(len(data) + 1)
    return data[:at] + data[at:at + dice.randrange(1, 30)] * dice.randrange(1, 2000) + data[at:]

def copy(dice, data, others):
    a, b, n = dice.below(len(data)), dice.below(len(data)), dice.randrange(1, 3000)
    return data[:a] + data[b:b + n][:len(data) - a] + data[a + n:]

DAMAGE = [flip, cut, lose, smear, insert, number, splice, repeat, copy]

def damage(dice, data, others=(b'',)):
    "Damage some bytes"
    how = dice.choice(DAMAGE)
    dice.how += (dice.how and ', ') + how.__name__
    return how(dice, data, others)

STRANGE = [0, 1, -1, 7, 255, 2**31, 2**32 - 1, 2**63, 10**30, 1.5, 1e308, None, True, False, '', 'train', [], {}, [0, 0], [[0]], '9'*50, '../..', 'a\nb']

def strange(dice, value):
    "Replace something, somewhere in a JSON value"
    if isinstance(value, (dict, list)) and value and dice.chance(.7):
        value = value.copy()
        k = dice.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if dice.chance(.1): del value[k]
        else: value[k] = strange(dice, value[k])
        return value
    if type(value) is int and dice.chance(.5): return value + dice.choice([-4096, -8, -1, 1, 2, 8, 4096, 2**40])
    return dice.choice(STRANGE)

def strange_json(dice, value):
    "Text of a JSON file that says something else"
    for _ in range(dice.choice([1, 1, 2, 5])): value = strange(dice, value)
    return json.dumps(value).encode() if dice.chance(.95) else dice.choice([b'[' * 100_000, b'{"n": NaN}', b'\xff\xfe', b'{}', b'[]', b'1' * 5000, b'null', b'"x"', b''])

def gz(data, wbits=31):
    z = zlib.compressobj(1, wbits=wbits)
    return z.compress(data) + z.flush()

# ---- TFRecord files: framing and messages

def messages():
    "Records to start from: messages with every kind of list"
    from genesis_v2.data.tfrecord import encode_example
    rng = np.random.default_rng(0)
    lists = dict(f=rng.normal(size=5), n=np.array([-1, -2**63, 300, 2**40, 5, 0]), ones=np.arange(4), s=[b'', b'abc', b'\n\x01'], jpeg=rng.bytes(400), image=rng.integers(0, 256, 108).astype(np.uint8),
                 mask=[b'ab', b'cd'])
    return [encode_example(lists), encode_example(lists, packed=False), encode_example(dict(image=np.arange(99, dtype=np.uint8))), b'']

@target('records', share=14, megabytes=48)
def framing(name, folder):
    "A damaged file gives records that were written, in their order, or a complaint"
    from genesis_v2.data.tfrecord import frame, is_tfrecord, records
    file, written = folder/'case.tfrecords', messages()
    framed, known = [frame(r) for r in written], set(written)
    def all_of(skip=None):
        out = []
        try:
            for r in records(file, skip): out.append(r.data)
        except BadFile as e: return out, str(e)
        return out, None
    def one(dice):
        some = [dice.randrange(len(written)) for _ in range(dice.randrange(1, 4))]
        data, dice.how = b''.join(framed[i] for i in some), dice.choice(['plain', 'gzip', 'inside gzip'])
        data = damage(dice, gz(data), framed) if dice.how == 'gzip' else damage(dice, data, framed)
        file.write_bytes(gz(data) if dice.how.startswith('inside') else data)
        is_tfrecord(file)
        out, complaint = all_of()
        assert all(r in known for r in out), f'a record came out that nobody wrote: {next(r for r in out if r not in known)[:40]!r}'
        skipped, also = all_of(lambda i: i % 2 == 0)
        if complaint is None: assert also is None and [r for r in skipped if r is not None] == out[1::2], f'skipping changes the result: {also}'
        else: raise Refused(complaint)
        return 'unchanged' if out == [written[i] for i in some] else 'harmless'
    return one

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
    def pieces(c):
        ends = [i + 1 for i, v in enumerate(c) if v < 128]
        return zip([0] + ends, ends)
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
                if n == 1 and w == 2: out.extend(signed(v) for _, _, v in fields(b''.join(b'\x08' + c[a:b] for a, b in pieces(c))))
    return found

def nested(dice, depth=0):
    "A message of random fields, with some lengths that lie"
    field, out = lambda n, content: varint(n*8 + 2) + varint(len(content)) + content, b''
    for _ in range(dice.randrange(1, 5)):
        kind, n = dice.randrange(10), dice.choice([1, 1, 1, 2, 3, 7])
        if kind < 5 and depth < 5: content = nested(dice, depth + 1)
        elif kind < 7: content = dice.choice([b'image', b'mask', b'visibility', b'k'])
        elif kind < 8: content = field(1, dice.randbytes(dice.randrange(3))) * dice.randrange(200)
        else: out += varint(n*8 + dice.randrange(6)) + dice.randbytes(dice.randrange(12)); continue
        out += field(n, content) if dice.chance(.95) else varint(n*8 + 2) + varint(hostile(dice)) + content
    return out

@target('examples', share=12, megabytes=48)
def forged_messages(name, folder):
    "Anything with good checksums: the message is refused, or read as the referee reads it"
    from genesis_v2.data.tfrecord import frame, parse_example, records, strings
    file, written = folder/'case.tfrecords', messages()
    def plain(v): return strings(v) if isinstance(v, list) or v.dtype == np.uint8 else v.tobytes() if v.dtype == np.float32 else v.tolist()
    right = {r: referee(r) for r in written}
    def one(dice):
        dice.how = dice.choice(['mutated', 'mutated', 'nested', 'headers'])
        if dice.how == 'headers':                                                           # a length whose checksum is right
            n = hostile(dice).to_bytes(8, 'little')
            file.write_bytes(n + frame(n)[-4:] + dice.randbytes(dice.randrange(60)))
        else:
            data = frame(nested(dice) if dice.how == 'nested' else damage(dice, dice.choice(written), written))
            file.write_bytes(gz(data) if dice.chance(.3) else data)
        res = 'unchanged'
        for r in read(lambda: list(records(file))):
            got = {k: plain(v) for k, v in read(lambda: parse_example(r.data)).items()}
            assert got == (want := referee(r.data)), f'read {got}, but it is {want}'[:1000]
            for keys in (['image', 'mask'], ['f', 'n', 's', 'k']):
                try: some = parse_example(r.data, keys)
                except BadFile: continue
                assert all(plain(some[k]) == got[k] for k in keys), 'other values if only some keys are asked for'
            if r.data not in right: res = 'harmless'
        return res
    return one

# ---- Data sets of TFRecord files

def made(recipe):
    "All scenes of a recipe"
    recipe.inputs(), recipe.total()
    return [recipe.convert(work).check(recipe) for _, work in recipe.blocks()]

def items(blocks):
    "Each image with its labels, as bytes, and its source"
    return [(s.images[i].tobytes(), None if s.labels is None else s.labels[i].tobytes(), s.source[i]) for s in blocks for i in range(len(s.images))]

def same_items(blocks, right, what):
    "'unchanged' if these are the items that were written, 'harmless' if they are some of them; anything else is a failure"
    got = items(blocks)
    if got == right: return 'unchanged'
    known = {i[:2] for i in right}
    for i in got: assert i[:2] in known, f'{what}: an image or labels that nobody wrote, without a word: {i[2]}'
    return 'harmless'

@target('objects_room', 'multi_dsprites', 'multi_dsprites_grayscale', 'multi_dsprites_binarized', 'tetrominoes', share=2.5, megabytes=96)
@target('objects_room_empty', 'objects_room_six', 'objects_room_identical', 'clevr', 'clevr6', share=1.5, megabytes=96)
def multi_object(name, folder):
    "The ten recipes of scenes with masks, at their own size and at a tiny one, where the referee says what a forged record holds"
    from genesis_v2.data.multi_object import encode_scene
    from genesis_v2.data.prepare import find_recipe
    from genesis_v2.data.tfrecord import frame
    full, rng = find_recipe(name), np.random.default_rng(0)
    h, w = (8, 10) if full.crop else (6, 6)
    tiny = type('Tiny', (full,), dict(shape=(h, w, full.shape[2]), mask_shape=tuple({full.shape[0]: h, full.shape[1]: w}.get(n, n) for n in full.mask_shape), img_size=8, crop=full.crop and 8))
    def prepare(cls, n):
        home = folder/cls.__name__
        home.mkdir()
        def scene(k):                                                                       # k × k patches of entities: in CLEVR6 the last one has too many
            patches = rng.integers(0, cls.mask_shape[cls.entity_axis], (k, k))
            return encode_scene(cls, rng.integers(0, 256, cls.shape), patches.repeat(-(-cls.shape[0]//k), 0).repeat(-(-cls.shape[1]//k), 1)[:cls.shape[0], :cls.shape[1]])
        written = [scene(k) for k in (2, 2, 6)[:n]]
        plain, recipe = b''.join(map(frame, written)), cls(home)
        (file := home/cls.files[0].path).write_bytes(plain)
        return types.SimpleNamespace(recipe=recipe, written=written, files=[plain, gz(plain)], file=file, right=items(made(recipe)), size=cls.img_size)
    large, small = prepare(full, 1 if 'clevr' in name else 2), prepare(tiny, 3)
    def check_scene(recipe, data, image, label, source):
        lists = referee(data, ['image', 'mask'])
        want, masks = (np.frombuffer(b''.join(lists[k]), np.uint8).reshape(shape) for k, shape in (('image', recipe.shape), ('mask', recipe.mask_shape)))
        entity = np.moveaxis(masks[..., 0], recipe.entity_axis, 0).argmax(0)
        labels = np.maximum(entity - recipe.background + 1, 0)
        if want.shape[-1] == 1: want = want.repeat(3, -1)
        if recipe.crop: want, labels = centre_crop(want, recipe.crop, channels=True), centre_crop(labels, recipe.crop)
        assert np.array_equal(image, resize_nearest(want, 8, channels=True)) and np.array_equal(label, resize_nearest(labels, 8)), f'another image or other labels: {source}'
    def one(dice):
        t = large if dice.chance(.03 if 'clevr' in name else .15) else small
        if dice.chance(.5):
            dice.how = 'file'
            t.file.write_bytes(damage(dice, dice.choice(t.files), t.written))
            return same_items(read(lambda: made(t.recipe)), t.right, 'checksums cover every record')
        dice.how = 'forged'
        data = [damage(dice, r, t.written) if dice.chance(.6) else r for r in t.written[:2]]
        framed = b''.join(map(frame, data))
        t.file.write_bytes(gz(framed) if dice.chance(.2) else framed)
        blocks = read(lambda: made(t.recipe))
        if t is small:
            for s in blocks:
                for image, label, source in zip(s.images, s.labels, s.source): check_scene(t.recipe, data[int(source.split('#')[1])], image, label, source)
        return 'unchanged' if items(blocks) == t.right[:2] else 'harmless'
    return one

def photo(rng, w, h): return (np.add.outer(np.arange(h), np.arange(w))[..., None]*[.4, .3, .2] + rng.normal(0, 5, (h, w, 3))).clip(0, 255).astype(np.uint8)

@target('sketchy', 'gqn_rooms', share=3, megabytes=96)
def episodes(name, folder):
    "JPEG pictures in TFRecord files: damaged files, forged records, damaged pictures in records that fit"
    from genesis_v2.data.gqn import GQNRooms, encode_room
    from genesis_v2.data.sketchy import CAMERAS, SIZE, Sketchy, encode_timestep
    from genesis_v2.data.tfrecord import encode_example, frame
    rng = np.random.default_rng(0)
    if name == 'sketchy':
        written = [encode_timestep(*(photo(rng, *SIZE[::-1]) for _ in range(2))) for _ in range(2)]
        file, recipe, lists = folder/'episode', Sketchy(folder, img_size=8), [f'pixels/basket_{c}' for c in CAMERAS]
    else:
        written = [encode_room(np.stack([photo(rng, 64, 64) for _ in range(10)])) for _ in range(2)]
        (folder/'train').mkdir()
        for i in range(1, 3): (folder/'train'/f'{i}.tfrecord').write_bytes(frame(written[0]))
        file, recipe, lists = folder/'train'/'0.tfrecord', GQNRooms(folder, limit=20), ['frames']
    good = b''.join(map(frame, written))
    file.write_bytes(good)
    right, pictures = items(made(recipe)), [referee(r, lists) for r in written]
    def one(dice):
        dice.how = dice.choice(['file', 'record', 'picture'])
        if dice.how == 'file': data = damage(dice, good, written)
        elif dice.how == 'record': data = b''.join(map(frame, [damage(dice, written[0], written), written[1]]))
        else:
            found = {k: list(v) for k, v in pictures[0].items()}
            strings = found[dice.choice(lists)]
            i = dice.randrange(len(strings))
            strings[i] = forged_picture(dice, strings[i], [strings[i]]) if dice.chance(.3) else damage(dice, strings[i], [strings[i]])
            data = frame(encode_example(found)) + frame(written[1])
        file.write_bytes(data)
        blocks = read(lambda: made(recipe))
        if dice.how.startswith('file'): return same_items(blocks, right, 'checksums cover every record')
        return 'unchanged' if items(blocks) == right else 'harmless'
    return one

# ---- Pictures

PNG = b'\x89PNG\r\n\x1a\n'

def encoded(array, format='PNG', mode=None, **kwargs):
    "Bytes of a picture file"
    out, image = io.BytesIO(), Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(out, format, **kwargs)
    return out.getvalue()

def chunks(png):
    "Chunks of a PNG as [kind, body]"
    pos, res = 8, []
    while pos + 12 <= len(png):
        n, kind = struct.unpack_from('>I4s', png, pos)
        res.append([kind, png[pos + 8:pos + 8 + n]])
        pos += 12 + n
    return res

def join(parts): return PNG + b''.join(struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body)) for kind, body in parts)

def split_idat(png, size):
    "The same picture with its pixels in chunks of `size` bytes"
    return join([[k, b[i:i + size]] for k, b in chunks(png) for i in (range(0, len(b), size) if k == b'IDAT' else [0])])

@functools.cache
def bomb(): return zlib.compress(bytes(2**22), 9)

def hostile_header(dice, data, others):
    "Sizes, depths and colour types that lie, with a right checksum (in a JPEG: the frame header)"
    if not data.startswith(PNG):
        at = next((i for i in range(len(data) - 9) if data[i] == 255 and data[i + 1] in (0xC0, 0xC2)), None)
        return data[:50] if at is None else data[:at + 5] + struct.pack('>HH', dice.randrange(65536), dice.randrange(65536)) + data[at + 9:]
    parts = chunks(data)
    head = list(struct.unpack('>IIBBBBB', parts[0][1]))
    for _ in range(dice.randrange(1, 4)):
        i = dice.randrange(7)
        head[i] = dice.choice([0, 1, 2, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1]) if i < 2 else dice.choice([0, 1, 2, 3, 4, 6, 8, 16, 255])
    parts[0][1] = struct.pack('>IIBBBBB', *head)
    return join(parts)

def reorder(dice, data, others):
    "Chunks dropped, doubled, swapped, renamed, taken from other files or filled with a bomb, each with a right checksum"
    if not data.startswith(PNG): return splice(dice, data, others)
    parts, foreign = chunks(data), [c for s in others if s.startswith(PNG) for c in chunks(s)]
    for _ in range(dice.randrange(1, 4)):
        i, what = dice.below(len(parts)), dice.randrange(8)
        if what == 0 and len(parts) > 1: del parts[i]
        elif what == 1: parts.insert(i, list(parts[i]))
        elif what == 2: j = dice.below(len(parts)); parts[i], parts[j] = parts[j], parts[i]
        elif what == 3 and foreign: parts.insert(i, list(dice.choice(foreign)))
        elif what == 4: parts[i] = [dice.choice([b'IHDR', b'PLTE', b'IDAT', b'IEND', b'tRNS', b'zTXt', b'iCCP', b'iTXt', b'eXIf', b'acTL', b'fcTL', b'fdAT', b'gAMA', b'sBIT', b'pHYs']), parts[i][1]]
        elif what == 5: parts[i] = [parts[i][0], parts[i][1][:dice.below(len(parts[i][1]) + 1)]]
        elif what == 6: parts.insert(1, [dice.choice([b'zTXt', b'iCCP']), b'a\0\0' + bomb()])
        else: parts = [[k, bomb()] if k == b'IDAT' else [k, b] for k, b in parts]
    return join(parts)

def recompress(dice, data, others):
    "Other pixels, or too few or too many of them, packed and signed as they should be"
    if not data.startswith(PNG): return smear(dice, data, others)
    parts = chunks(data)
    pixels = zlib.decompress(b''.join(b for k, b in parts if k == b'IDAT'))
    pixels = bytearray(pixels[:dice.below(len(pixels) + 1)] if dice.chance(.5) else pixels + bytes(100))
    for _ in range(dice.randrange(50)):
        if pixels: pixels[dice.below(len(pixels))] = dice.randrange(256)
    first = next(i for i, (k, _) in enumerate(parts) if k == b'IDAT')
    parts = [c for c in parts if c[0] != b'IDAT']
    return join(parts[:first] + [[b'IDAT', zlib.compress(bytes(pixels))]] + parts[first:])

def forged_picture(dice, data, others):
    how = dice.choice([hostile_header, reorder, recompress])
    dice.how += (dice.how and ', ') + how.__name__
    return how(dice, data, others)

def picture_damage(dice, data, others):
    "A damaged picture file, and whether its checksums must tell"
    if dice.chance(.4): return forged_picture(dice, data, others), False
    new = damage(dice, data, others)
    return new, data.startswith(PNG) and not dice.how.endswith('splice')

def pictures_of_all_kinds(rng):
    "Small pictures and label maps of every kind that the readers of data sets take: name → bytes"
    blocky = rng.integers(0, 7, (6, 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    noisy = (np.add.outer(np.arange(48), np.arange(64))[..., None]*[2, 1, .5] + rng.normal(0, 20, (48, 64, 3))).clip(0, 255).astype(np.uint8)
    return {'rgb': encoded(noisy), 'rgba': encoded(noisy, mode='RGBA'), 'grey': encoded(blocky*32), 'palette': encoded(blocky, mode='P'), 'one bit': encoded((blocky > 3)*np.uint8(255), mode='1'),
            'grey as rgba': encoded(blocky*32, mode='RGBA'), 'stored': encoded(noisy, compress_level=0), 'many chunks': split_idat(encoded(noisy), 500),
            'jpeg': encoded(noisy, 'JPEG', quality=85), 'progressive jpeg': encoded(noisy, 'JPEG', quality=85, progressive=True)}

@target('pictures', share=10, megabytes=512)
@target('label_maps', share=7, megabytes=512)
def picture_files(name, folder):
    "Mutants through `read_picture` and `read_label_map`"
    originals, path = pictures_of_all_kinds(np.random.default_rng(0)), folder/'mutant.map'
    reader, files, right = read_picture if name == 'pictures' else read_label_map, list(originals.values()), {}
    for k, data in originals.items():
        path.write_bytes(data)
        try: right[k] = reader(path)
        except BadFile: right[k] = None
    def one(dice):
        kind = dice.choice(list(originals))
        data, covered = picture_damage(dice, originals[kind], files)
        path.write_bytes(data)
        res = read(lambda: reader(path))
        assert res.dtype == np.uint8 and res.ndim == (3 if name == 'pictures' else 2) and res.size, f'{res.dtype} {res.shape}'
        if data == originals[kind] or np.array_equal(res, right[kind]): return 'unchanged'
        assert not covered, f'{dice.how} of {kind} gives another picture without a word'
        return 'harmless'
    return one

def picture_tree(recipe, folder):
    "A tiny raw folder for one recipe: the recipe, its pictures, its texts"
    rng = np.random.default_rng(0)
    def put(path, data): (folder/path).parent.mkdir(parents=True, exist_ok=True); (folder/path).write_bytes(data); return folder/path
    def blocky(w, h, top): return np.kron(rng.integers(0, top + 1, (h // 16, w // 16), dtype=np.uint8), np.ones((16, 16), np.uint8))
    if recipe == 'shapestacks':
        from genesis_v2.data.shapestacks import ShapeStacks
        scenario = 'env_ccs-easy-h=3-vcom=0-vpsf=0-v=1'
        files = put(f'recordings/{scenario}/rgb-w=0-f=0-l=0-c=original-cam_1-mono-0.png', encoded(photo(rng, 224, 224))), \
                put(f'iseg/{scenario}/iseg-w=0-f=0-l=0-c=original-cam_1-mono-0.map', encoded(blocky(224, 224, 6)*32, mode='RGBA'))
        texts = [put(f'splits/default/{split}.txt', (scenario + '\n').encode() if split == 'train' else b'') for split in ('train', 'eval', 'test')]
        return ShapeStacks(folder), files, texts[:1]
    if recipe.startswith('apc'):
        from genesis_v2.data.apc import APC
        part, top = ('training', 'training/shelf/kong/scene-0000') if recipe == 'apc' else ('benchmark', 'office/test/scene-0000')
        files = put(f'{top}/frame-000000.color.png', encoded(photo(rng, 640, 480))), \
                put(f'{top}/masks/frame-000000.mask.png', encoded(blocky(640, 480, 1)*255)) if part == 'training' else put(f'{top}/segm/frame-000000.segm.png', encoded(blocky(640, 480, 39)*6))
        (folder/'training/tote').mkdir(parents=True, exist_ok=True)
        return APC(folder, part=part), files, []
    from genesis_v2.data.clevrtex import ClevrTex
    files = put('clevrtex_full/0/CLEVRTEX_full_000000.png', encoded(photo(rng, 320, 240), mode='RGBA')), put('clevrtex_full/0/CLEVRTEX_full_000000_flat.png', encoded(blocky(320, 240, 10), mode='P'))
    return ClevrTex(folder, count=1), files, []

@target('shapestacks', 'clevrtex', share=4, megabytes=512)
@target('apc', 'apc_benchmark', share=1.5, megabytes=512)
def picture_recipes(name, folder):
    "One damaged file at a time, picture or label map or list of scenes, through a recipe"
    recipe, files, texts = picture_tree(name, folder)
    originals = {f: f.read_bytes() for f in (*files, *texts)}
    right = items(made(recipe))
    assert len(right) == 1
    def one(dice):
        f = dice.choice(texts) if texts and dice.chance(.1) else dice.choice(files)
        if f in texts: dice.how = 'list'; data, covered = dice.choice([lambda: damage(dice, originals[f]), lambda: strange_text(dice, originals[f])])(), False
        else: data, covered = picture_damage(dice, originals[f], list(originals.values()))
        f.write_bytes(data)
        try: got = items(read(lambda: made(recipe)))
        finally: f.write_bytes(originals[f])
        if got == right or f in texts and all(i in right for i in got): return 'unchanged'
        assert not covered, f'{dice.how} of {f.name} gives another scene without a word'
        return 'harmless'
    return one

def strange_text(dice, data):
    return b'\n'.join(dice.choice([data.strip(), data.strip(), b'../../etc', b'/etc/passwd', b'env_ccs-easy-h=3-vcom=0-vpsf=0-v=2', b'a/b', b'*', b'.', b'\0', b'\xc3\xa9', b'env_ccs-easy-h=3-vcom=0-vpsf=0-v=1/..'])
                      for _ in range(dice.randrange(4)))

@target('images', share=7, megabytes=1200)
def own_pictures(name, folder):
    "Pictures of one's own in all formats, with label pictures, through the recipe for folders"
    from genesis_v2.data.folders import Images
    rng = np.random.default_rng(0)
    colour, blocky = photo(rng, 80, 60), np.kron(rng.integers(0, 9, (6, 8), dtype=np.uint8), np.ones((10, 10), np.uint8))
    turned = Image.Exif()
    turned[0x112] = 6
    pictures = {'png': encoded(colour), 'rgba': encoded(colour, mode='RGBA'), 'palette': encoded(blocky, mode='P'), '16 bits': encoded(blocky.astype(np.uint16)*5000), 'jpeg': encoded(colour, 'JPEG'),
                'jpeg, turned twice': encoded(colour, 'JPEG', exif=Image.Exif().tobytes()), 'gif': encoded(blocky, 'GIF'), 'bmp': encoded(colour, 'BMP'), 'tiff': encoded(colour, 'TIFF'),
                'tiff, floats': encoded(blocky.astype(np.float32), 'TIFF'), 'ppm': encoded(colour, 'PPM'), 'cmyk': encoded(colour, 'JPEG', mode='CMYK')}
    frames = [Image.fromarray(blocky*i) for i in (1, 5, 20)]
    (out := io.BytesIO(), frames[0].save(out, 'GIF', save_all=True, append_images=frames[1:]))
    pictures['gif, moving'] = out.getvalue()
    labels = {'png': encoded(blocky), 'palette': encoded(blocky, mode='P'), 'colours': encoded(np.stack([blocky*20, blocky*7, blocky], -1)), '16 bits': encoded(blocky.astype(np.uint16)*900), 'gif': encoded(blocky, 'GIF'),
              'tiff': encoded(blocky.astype(np.int32)*70000, 'TIFF'), 'tiff, floats': encoded(blocky.astype(np.float32), 'TIFF')}
    if features.check('libtiff'):
        for how in ('tiff_lzw', 'tiff_adobe_deflate', 'packbits'): pictures[how] = encoded(colour, 'TIFF', compression=how)
        labels['tiff, deflate'] = encoded(blocky.astype(np.uint16)*900, 'TIFF', compression='tiff_adobe_deflate')
    if features.check('webp'): pictures |= {'webp': encoded(colour, 'WEBP'), 'webp, lossless': encoded(colour, 'WEBP', lossless=True)}
    if features.check('jpg_2000'): pictures['jpeg 2000'] = encoded(colour, 'JPEG2000')
    f, l = folder/'cat.png', folder/'labels'/'cat.png'                                    # Pillow looks at the content, not at the name
    l.parent.mkdir()
    files, right = [*pictures.values(), *labels.values()], {}
    def put(picture, label):
        f.write_bytes(picture)
        l.write_bytes(label)
        return items(made(recipe))
    f.write_bytes(pictures['png']), l.write_bytes(labels['png'])
    recipe = Images(folder, img_size=32)
    def one(dice):
        p, q, which = dice.choice(list(pictures)), dice.choice(list(labels)), dice.randrange(2)
        original = labels[q] if which else pictures[p]
        if (p, q) not in right: right[p, q] = put(pictures[p], labels[q])
        data, covered = picture_damage(dice, original, files)
        got = read(lambda: put(pictures[p], data) if which else put(data, labels[q]))
        if got == right[p, q]: return 'unchanged'
        assert not covered, f'{dice.how} of {(p, q)[which]} gives another scene without a word'
        return 'harmless'
    return one

# ---- Archives

ROOM = 2**22          # bytes that the disk is said to have left
CONTENT = {'a.txt': b'some text\n'*20, 'sub/b.bin': random.Random(0).randbytes(6000), 'sub/deep/c.txt': bytes(range(256))*30, 'empty': b''}

def names_in(dice, outer):
    "A name in an archive"
    return dice.choice([*CONTENT, *CONTENT, 'a.txt/below', 'sub', 'sub/', '../evil', 'sub/../../evil', '..', '/', str(outer/'evil'), '//evil', 'C:/evil', '..\\evil', 'sub\\..\\..\\evil', '.', './', '', './a.txt',
                        'elsewhere/evil', 'link/evil', 'link', 'hard', 'a\0b', 'n'*300, 'd/'*400 + 'x', 'é', '\udc80', '~/evil', 'CON', 'sub/../a.txt', ' ', 'new/one', 'a.txt.unpacked'])

def good_zip():
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as z:
        for (name, data), how in zip(CONTENT.items(), (zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_STORED)): z.writestr(zipfile.ZipInfo(name), data, how)
    return out.getvalue()

@functools.cache
def zeros(how): return {'gz': gzip.compress, 'bz2': bz2.compress, 'xz': lzma.compress}[how](bytes(2**26))

def forged_zip(dice, outer):
    "Names that lead elsewhere, links, sizes that lie, files twice, bombs"
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, 'w') as z:
        warnings.simplefilter('ignore')                                                     # of names that are there twice
        for _ in range(dice.randrange(1, 6)):
            info = zipfile.ZipInfo(names_in(dice, outer).encode(errors='replace').decode() or 'x')
            info.filename = info.orig_filename
            if dice.chance(.15): info.external_attr = dice.choice([stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR, stat.S_IFREG | stat.S_ISUID]) << 16 | 0o777 << 16
            data = bytes(2**23) if dice.chance(.03) else str(outer/'evil').encode() if dice.chance(.2) else dice.randbytes(dice.randrange(300))
            z.writestr(info, data, dice.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    data = bytearray(out.getvalue())
    if dice.chance(.5):
        local, central, end = ([i for i in range(len(data)) if data.startswith(m, i)] if len(data) < 2**16 else [] for m in (b'PK\x03\x04', b'PK\x01\x02', b'PK\x05\x06'))
        for _ in range(dice.randrange(1, 4)):
            starts, places = dice.choice([(local, [(6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)]), (central, [(6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (38, 4), (42, 4)]),
                                          (end, [(8, 2), (10, 2), (12, 4), (16, 4), (20, 2)])])
            if not starts: continue
            (at, n), start = dice.choice(places), dice.choice(starts)
            data[start + at:start + at + n] = (hostile(dice) % 256**n).to_bytes(n, 'little')
    return bytes(data)

def signed(block):
    "A tar header with a checksum that fits"
    block = bytearray(block)
    block[148:156] = b' '*8
    block[148:156] = b'%06o\0 ' % sum(block)
    return bytes(block)

def tar_member(name, data=b'', kind=tarfile.REGTYPE, link='', size=None, **more):
    "Blocks of a member; `size`: what the header says, as bytes or as a number"
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    for k, v in more.items(): setattr(info, k, v)
    blocks = info.tobuf(tarfile.GNU_FORMAT, 'utf-8', 'surrogateescape')
    if size is not None:
        if isinstance(size, int): size = b'%011o\0' % size if 0 <= size < 8**11 else (b'\xff' if size < 0 else b'\x80') + (size % 256**11).to_bytes(11, 'big')
        head = bytearray(blocks[-512:])
        head[124:136] = size.ljust(12, b'\0')[:12]
        blocks = blocks[:-512] + signed(head)
    return blocks + data + bytes(-len(data) % 512)

def pax(fields, kind=b'x'):
    "A header with further fields"
    def line(k, v):
        rest = b' ' + k.encode() + b'=' + v + b'\n'
        return next(b'%d' % n + rest for n in itertools.count(len(rest)) if len(b'%d' % n + rest) == n)
    return tar_member('pax', b''.join(line(k, v) for k, v in fields), kind)

def long_way_round(outer):
    "Links through folders whose names together are longer than a path may be, so that nobody follows them to the end; then a file behind them"
    long, steps, path, out = 'd'*247, 'abcdefghijklmnop', '', b''
    for s in steps:
        out += tar_member(path + long, kind=tarfile.DIRTYPE, mode=0o755) + tar_member(path + s, kind=tarfile.SYMTYPE, link=long)
        path += long + '/'
    out += tar_member('/'.join(steps) + '/' + 'l'*254, kind=tarfile.SYMTYPE, link='../'*len(steps)) + tar_member('escape', kind=tarfile.SYMTYPE, link='/'.join(steps) + '/' + 'l'*254 + '/..')
    return out + tar_member('hard', kind=tarfile.LNKTYPE, link='escape/canary') + tar_member('hard', b'evil') + tar_member('escape/evil', b'evil')

PAX = {'path': [b'../evil', b'/evil', b'ok', b'a\0b', b''], 'linkpath': [b'../..', b'/etc/passwd'], 'size': [b'-1', b'-1024', b'-512', b'0', b'99999999999999999999', b'1e9', b'x', b'1024'], 'mtime': [b'nan', b'inf', b'1e300', b'-1e300', b'x', b'-1'],
       'uid': [b'-1', b'99999999999'], 'GNU.sparse.map': [b'0,1,9999999999999,1', b'x', b'-5,10', b'0'], 'GNU.sparse.size': [b'99999999999999', b'-1', b'x'], 'GNU.sparse.realsize': [b'99999999999999', b'-1'],
       'GNU.sparse.major': [b'1'], 'GNU.sparse.minor': [b'0'], 'GNU.sparse.name': [b'../evil', b'/evil'], 'hdrcharset': [b'BINARY', b'x'], 'charset': [b'\xff']}

def forged_tar(dice, outer):
    "Names that lead elsewhere, links, devices, sizes that lie, headers without end; with checksums that fit"
    if dice.chance(.05): return long_way_round(outer) + bytes(1024)
    out = b''
    for _ in range(dice.randrange(1, 7)):
        name, how = names_in(dice, outer), dice.randrange(10)
        if '\0' in name and how: name = name.replace('\0', '_')
        if how < 4: out += tar_member(name, dice.randbytes(dice.randrange(1200)), mode=dice.choice([0o644, 0, 0o4777, 0o7777]), mtime=dice.choice([0, 0, 8**11 - 1, 2**70, -1]))
        elif how < 6:
            kind = dice.choice([tarfile.SYMTYPE, tarfile.LNKTYPE])
            out += tar_member(dice.choice([name, 'link', 'hard', 'sub']), kind=kind, link=dice.choice(['..', '../..', '../canary', str(outer), str(outer/'canary'), 'a.txt', 'sub', '.', 'link', 'link/canary', 'elsewhere', '/etc/passwd', 'hard', 'd/'*400 + '..']))
        elif how == 6: out += tar_member(name, kind=dice.choice([tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, b'Z', b'\0']), mode=dice.choice([0, 0o755, 0o7777]))
        elif how == 7:                                                                      # a size that lies; of a file, a long name, further fields, a sparse file
            size = dice.choice([*NUMBERS, -1, -512, -1024, -2**40, 2**85, b'x', b'77777777777', b'-1', b' 1', b'1_0'])
            out += tar_member(name, bytes(dice.choice([0, 512, 5000])), dice.choice([tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_SPARSE, tarfile.DIRTYPE]), size=size)
        elif how == 8: out += pax([(k, dice.choice(PAX[k])) for k in dice.sample(list(PAX), dice.randrange(1, 5))], dice.choice([b'x', b'x', b'g', b'X'])) + tar_member(name, bytes(dice.choice([0, 700, 2048])))
        else:                                                                               # an old-style sparse file
            head = bytearray(tar_member(name, b'x'*512, tarfile.GNUTYPE_SPARSE))
            for at in (386, 398, 410, 483): head[at:at + 12] = b'%011o\0' % dice.choice([0, 512, 2**30, 8**11 - 1])
            head[482] = dice.randrange(2)
            out += signed(head[:512]) + bytes(head[512:])
    return out + bytes(1024) if dice.chance(.9) else out

PACK = dict(tar=lambda d: d, gz=lambda d: gzip.compress(d, 1, mtime=0), bz2=bz2.compress, xz=functools.partial(lzma.compress, preset=0))

@target('zip', share=4, megabytes=96)
@target('tar', share=7, megabytes=96)
def archives(name, folder):
    "Archives through `unpack`: nothing changes outside the folder, nothing but files, folders and links that stay inside comes into it, no more than there is room; what has a checksum is right"
    from unittest import mock
    from genesis_v2.data.prepare import unpack
    outer, box, archive = folder/'outer', folder/'outer'/'box', folder/'mutant'
    def state(): return sorted((str(p), stat.S_IFMT(p.lstat().st_mode), p.lstat().st_mode, p.lstat().st_nlink, p.read_bytes() if p.is_file() else b'') for top in (folder, outer, outer/'elsewhere')
                               for p in top.iterdir() if p.name not in ('box', archive.name))
    plain = b''.join(tar_member(k, v) for k, v in CONTENT.items()) + bytes(1024)
    good = {'zip': good_zip()} if name == 'zip' else {k: pack(plain) for k, pack in PACK.items()}
    kinds, others = list(good), list(good.values())
    def inside():
        "What is in the box: relative path → content; a complaint about anything that must not be there"
        found, total = {}, 0
        for here, folders, files in os.walk(box):
            for f in (*folders, *files):
                p = Path(here, f)
                s = p.lstat()
                if stat.S_ISLNK(s.st_mode): assert p.resolve().is_relative_to(box.resolve()) or p == box/'elsewhere', f'a link out of the folder: {p} → {os.readlink(p)}'
                elif stat.S_ISREG(s.st_mode): found[os.path.relpath(p, box)], total = p.read_bytes() if s.st_size < 2**20 else None, total + s.st_blocks*512
                else: assert stat.S_ISDIR(s.st_mode), f'neither a file nor a folder: {p}'
                assert not s.st_mode & (stat.S_ISUID | stat.S_ISGID), f'a file that runs as another user: {p}'
        assert total <= ROOM + 2**16, f'{total:,} bytes where {ROOM:,} were free'
        return found
    def one(dice):
        nonlocal archive
        kind = dice.choice(kinds)
        archive = folder/('mutant.zip' if kind == 'zip' else 'mutant.tar' if kind == 'tar' else f'mutant.tar.{kind}')
        box.mkdir(parents=True)
        (outer/'elsewhere').mkdir()
        for p in (outer/'canary', outer/'elsewhere'/'canary'): p.write_bytes(b'tweet')
        if dice.chance(.15): (box/'elsewhere').symlink_to(outer/'elsewhere')                  # somebody keeps a part of the data on another disk
        forged = dice.chance(.55)
        if not forged: data = damage(dice, good[kind], others)
        elif dice.chance(.02) and kind in ('gz', 'bz2', 'xz'):                              # a header of 64 MB, packed into little
            dice.how = 'endless header'
            header = tar_member('x', kind=dice.choice([tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE]), size=2**26)
            data = PACK[kind](header) + zeros(kind)
        else:
            dice.how = 'forged'
            data = forged_zip(dice, outer) if kind == 'zip' else PACK[kind](forged_tar(dice, outer))
            if dice.chance(.1): data = damage(dice, data, others)
        archive.write_bytes(data)
        before = state()
        usage = lambda p: types.SimpleNamespace(free=ROOM - sum(os.lstat(os.path.join(here, f)).st_blocks*512 for here, _, fs in os.walk(box) for f in fs))
        try:
            try:
                with mock.patch.object(shutil, 'disk_usage', usage): read(lambda: unpack(archive, box), BadFile)
            except OSError as e:
                if e.errno != errno.ENOSPC: raise
                raise Refused(str(e))
            finally:
                found = inside()
                assert state() == before, 'something outside the folder has changed'
        finally:
            for here, _, _ in os.walk(outer): os.chmod(here, 0o700)
            shutil.rmtree(outer)
            for p in folder.iterdir(): shutil.rmtree(p) if p.is_dir() else p.unlink()
        found = {k: v for k, v in found.items() if not k.startswith('elsewhere')}
        if found == CONTENT: return 'unchanged'
        if not forged and kind != 'tar' and not dice.how.endswith('splice'):
            for k, v in found.items(): assert k in CONTENT and v == CONTENT[k], f'{dice.how}: {k} is not what was packed, without a word'
            assert kind == 'zip' or len(found) == len(CONTENT), f'{dice.how}: {", ".join(CONTENT.keys() - found.keys())} missing, without a word'
        return 'harmless'
    return one

# ---- The store

SIDE, ITEMS = 8, 24

def stored_scenes(labels):
    rng = np.random.default_rng(0)
    return Scenes(rng.integers(0, 256, (ITEMS, SIDE, SIDE, 3), dtype=np.uint8), rng.integers(0, 5, (ITEMS, SIDE, SIDE), dtype=np.uint8) if labels else None,
                  ['train', 'valid', 'test']*(ITEMS // 3), [f'folder/file#{i}' for i in range(ITEMS)])

def write_small_store(path, labels):
    from genesis_v2.data.store import write_store
    return write_store(path, [stored_scenes(labels)], type('Fuzz', (Recipe,), dict(name='fuzz', img_size=SIDE, has_labels=labels))())

@target('store', share=10, megabytes=64)
def stores(name, folder):
    "Damaged stores: every changed byte ends in `BadFile`. Forged ones may lie about splits and sources"
    from genesis_v2.data.store import SceneDataset, _hash_rest, _user_block, read_header
    stores, path = [], folder/'mutant.h5'
    for labels in (True, False):
        good = write_small_store(folder/'good.h5', labels)
        stores.append((good.read_bytes(), read_header(good), stored_scenes(labels)))
    def forged(dice, good, header):
        data = bytearray(good)
        if dice.chance(.5):
            dice.how = 'forged header'
            text = strange_json(dice, header)
            return (b'genesis_v2 store %d %d %s\n' % (1, len(text), hashlib.sha256(text).hexdigest().encode()) + text + b'\n\n').ljust(header['user_block'], b'\0') + data[header['user_block']:]
        dice.how = 'forged arrays'                                                          # splits, CRCs, sources or HDF5's own bytes, with a hash that fits
        images = [v for k, v in header['arrays'].items() if k in ('images', 'labels')]
        places = [i for i in range(header['user_block'], len(data)) if not any(a <= i < a + n for a, n in images)]
        small = [i for k, (a, n) in header['arrays'].items() if k not in ('images', 'labels') for i in range(a, a + n)]
        for _ in range(dice.randrange(1, 20)): data[dice.choice(dice.choice([places, small]))] = dice.randrange(256)
        data[:header['user_block']] = _user_block(header | dict(rest_sha256=_hash_rest(io.BytesIO(bytes(data)), header)), header['user_block'])
        return bytes(data)
    def damaged(dice, good, header):
        if dice.chance(.1):
            dice.how, at = 'first line', good.index(b'\n')
            parts = good[:at].split(b' ')
            parts[dice.below(len(parts))] = dice.choice([b'', b'-1', b'0', b'2', b'9'*30, b'\xff', b'1e9', b'4096', dice.randbytes(8), b'genesis_v2'])
            return b' '.join(parts) + good[at:]
        a, b = dice.choice([(0, 200), (0, header['user_block']), (header['user_block'], len(good)), (0, len(good))])
        return good[:a] + damage(dice, good[a:b], [s[0] for s in stores]) + good[b:]
    def through(truth):
        for split in ('train', 'valid', 'test', None):
            try: ds = SceneDataset(path, split)
            except ValueError as e:
                if truth is None and not isinstance(e, BadFile) and 'has no split' in str(e): continue
                raise
            images, labels = ds.read(range(len(ds)))
            sources = [ds.source(i) for i in range(0, len(ds), 5)]
            if truth is not None:
                i = range(ITEMS) if split is None else range(['train', 'valid', 'test'].index(split), ITEMS, 3)
                assert np.array_equal(images, truth.images[i]) and (labels is None) == (truth.labels is None) and (labels is None or np.array_equal(labels, truth.labels[i])), f'wrong images in {split}'
                assert sources == [truth.source[k] for k in list(i)[::5]], f'wrong sources in {split}'
        ds.verify()
        ds.export_splits(folder/'splits')
    def one(dice):
        good, header, truth = dice.choice(stores)
        forge = dice.chance(.3)
        data = (forged if forge else damaged)(dice, good, header)
        path.write_bytes(data)
        read(lambda: through(None if forge else truth), BadFile)
        assert forge or data == good, f'{dice.how}: not noticed'
        return 'unchanged' if data == good else 'harmless'
    return one

# ---- Models

def tiny_model():
    import torch
    from genesis_v2.models.genesisv2 import GenesisV2
    torch.manual_seed(0)
    return GenesisV2(16, 3, width=8, z_dim=4).eval()

def same_state(a, b):
    import torch
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

def forged_tensors(dice, data):
    "A safetensors file whose header says something else"
    n = int.from_bytes(data[:8], 'little')
    header, rest = json.loads(data[8:8 + n]), data[8 + n:]
    dice.how = 'forged header'
    if dice.chance(.3):                                                                     # much out of little: other shapes for the same bytes
        k = dice.choice([k for k in header if k != '__metadata__'])
        size = math.prod(header[k]['shape'])
        header[k]['shape'] = dice.choice([[size], [size, 1], [1, size], [1]*200 + [size], [0, 2**40], [2**62], [0]])
        text = json.dumps(header).encode()
    else: text = strange_json(dice, header)
    return (len(text) if dice.chance(.95) else hostile(dice)).to_bytes(8, 'little') + text + rest

@target('model', share=4, megabytes=128)
def saved_models(name, folder):
    "Damaged and hostile `config.json` and `model.safetensors` through `SceneModel.from_pretrained`"
    from genesis_v2.models.base import SceneModel
    good, home = tiny_model(), folder/'model'
    good.save_pretrained(home, report=dict(n=1))
    config, weights = home/'config.json', home/'model.safetensors'
    originals = {f: f.read_bytes() for f in (config, weights)}
    saved = json.loads(originals[config])
    SceneModel.from_pretrained(home)                                                        # what is imported for it is not what an input takes
    def hostile_config(dice):
        dice.how, new = 'hostile sizes', {**saved, 'config': dict(saved['config'])}
        for k in dice.sample(['img_size', 'n_slots', 'width', 'z_dim', 'decoder_grid', 'pixel_std'], dice.randrange(1, 4)): new['config'][k] = dice.choice([8, 16, 32, 64, 2**10, 2**14, 2**20, 2**30, 2**40, 8*10**18, -8, 0, 1e9, 1.5, 10**400, '64'])
        return json.dumps(new).encode()
    def one(dice):
        f = dice.choice([config, weights])
        if f == weights: data = forged_tensors(dice, originals[f]) if dice.chance(.5) else damage(dice, originals[f], list(originals.values()))
        else: data = dice.choice([lambda: strange_json(dice, saved), lambda: hostile_config(dice), lambda: damage(dice, originals[f], list(originals.values()))])()
        f.write_bytes(data)
        try: model = read(lambda: SceneModel.from_pretrained(home), ValueError, FileNotFoundError)
        finally: f.write_bytes(originals[f])
        assert isinstance(model, SceneModel) and not model.training, 'something else than a model'
        return 'unchanged' if model.config == good.config and same_state(model, good) else 'harmless'
    return one

class Trap:
    "An object whose pickle creates a file when it is read"
    def __init__(self, path): self.path = path
    def __reduce__(self): return io.open, (str(self.path), 'w')

@target('published', share=4, megabytes=128)
def published_checkpoints(name, folder):
    "Damaged and hostile checkpoints of the published code, as safetensors and as pickles, through `load_published`; no code of theirs runs"
    import torch
    from safetensors.torch import save_file
    from genesis_v2.models.published import _genesisv2_names, load_published
    good, sprung = tiny_model(), folder/'sprung'
    def theirs(k):
        if k.startswith('decoder.layers.'): i, rest = k.removeprefix('decoder.layers.').split('.', 1); return f'decoder_module.{int(i) + 1}.{rest}'
        return next(pattern.strip('^$').replace('\\', '') + k[len(ours):] for pattern, ours in _genesisv2_names if k.startswith(ours))
    state = {theirs(k): v for k, v in good.state_dict().items()}
    def saved(value, **kwargs): torch.save(value, out := io.BytesIO(), **kwargs); return out.getvalue()
    save_file(state, folder/'good.safetensors')
    files = {'x.safetensors': (folder/'good.safetensors').read_bytes(), 'x.ckpt': saved({'model_state_dict': state, 'iter_idx': 5, 'beta': torch.tensor(.1)}), 'old.pth': saved(state, _use_new_zipfile_serialization=False)}
    for k, v in files.items(): (folder/k).write_bytes(v); assert same_state(load_published(folder/k, n_slots=3), good)
    trap = saved({'model_state_dict': state, 'extra': Trap(sprung)})
    def pickle_inside(data):
        with zipfile.ZipFile(io.BytesIO(data)) as z: return {i: z.read(i) for i in z.namelist()}
    def packed(parts):
        with zipfile.ZipFile(out := io.BytesIO(), 'w') as z:
            for k, v in parts.items(): z.writestr(zipfile.ZipInfo(k), v)
        return out.getvalue()
    parts, calls = pickle_inside(files['x.ckpt']), [b'cos\nsystem\n', b'cbuiltins\neval\n', b'cbuiltins\nexec\n', b'cio\nopen\n', b'ctorch\nload\n', b'cposix\nsystem\n', b'ctorch._utils\n_rebuild_tensor_v2\n']
    def forged(dice):
        dice.how, new = 'forged pickle', dict(parts)
        key = next(k for k in parts if k.endswith('data.pkl'))
        body = parts[key]
        if dice.chance(.3): at = dice.below(len(body)); body = body[:at] + dice.choice(calls) + (f"(S'touch {sprung}'\ntR." if dice.chance(.5) else f"(S'{sprung}'\nS'w'\ntR").encode() + body[at:]
        else: body = damage(dice, body, [body])
        new[key] = body
        return packed(new)
    def swollen(dice):
        "Tensors that are much larger than what they are made of, or of another kind"
        dice.how, new = 'swollen', dict(state)
        for k in dice.sample(list(state), dice.randrange(1, 4)):
            n = dice.choice([2**20, 2**30, 2**40])
            new[k] = dice.choice([lambda: torch.zeros(1, dtype=torch.half).expand(n), lambda: torch.zeros(1).expand(n), lambda: torch.zeros(8, 1, 1, 1).expand(8, n, 1, 1), lambda: torch.zeros(2**14, 3, 1, 1).expand(2**14, 3, 3, 3),
                                  lambda: 'text', lambda: [1, [2]], lambda: 7, lambda: None, lambda: torch.zeros(2, 2).to_sparse(), lambda: torch.zeros(3, dtype=torch.complex64), lambda: torch.empty(2**30, device='meta')])()
        if dice.chance(.1): new = {('a', 1): 2, **new} if dice.chance(.5) else [new]
        return saved(new)
    def one(dice):
        name = dice.choice(list(files))
        how = dice.randrange(10)
        if how == 0: name, dice.how, data = 'x.ckpt', 'trap', trap if dice.chance(.2) else damage(dice, trap, [trap])
        elif how < 4: name, data = 'x.ckpt', forged(dice)
        elif how < 6: name, data = 'x.ckpt', swollen(dice)
        elif how < 8 and name == 'x.safetensors': data = forged_tensors(dice, files[name])
        else: data = damage(dice, files[name], list(files.values()))
        (folder/name).write_bytes(data)
        try: model = read(lambda: load_published(folder/name, n_slots=3), ValueError, FileNotFoundError)
        finally:
            there = sprung.exists()
            sprung.unlink(missing_ok=True)
            assert not there, 'code from the file has run'
        assert not model.training
        return 'unchanged' if same_state(model, good) else 'harmless'
    return one

@target('checkpoint', share=2, megabytes=128)
def run_checkpoints(name, folder):
    "Damaged and hostile checkpoints of a run through `load_checkpoint`; a refused one leaves the learner as it was"
    import torch
    from genesis_v2.data.loaders import scene_dataloaders
    from genesis_v2.learner import _checkpoint_tensors, scene_learner
    dls = scene_dataloaders('sprites', img_size=16, bs=4, n=8, n_valid=4, device='cpu')
    learn, path = scene_learner(dls, n_slots=3, width=8, z_dim=4), folder/'checkpoint.safetensors'
    with learn.no_bar(), learn.no_logging(): learn.fit_steps(2)
    learn.save_checkpoint(path)
    good = path.read_bytes()
    learn.load_checkpoint(path)
    def state(): return {k: v.clone() for k, v in _checkpoint_tensors(learn).items()} | {'step': torch.tensor(learn.step)}
    def same(a, b): return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    right = state()
    def one(dice):
        data = forged_tensors(dice, good) if dice.chance(.5) else damage(dice, good, [good])
        path.write_bytes(data)
        try: read(lambda: learn.load_checkpoint(path), ValueError, FileNotFoundError)
        except Refused:
            assert same(state(), right), 'refused, but the learner has changed'
            raise
        res = 'unchanged' if same(state(), right) else 'harmless'
        if res == 'harmless': path.write_bytes(good); learn.load_checkpoint(path)
        return res
    return one

# ---- Trying the inputs

def memory(key):
    "A line of /proc/self/status in MiB; 0 where there is none"
    try: return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith(key)) / 1024
    except OSError: return 0.

def forget_peak():
    "Let the operating system measure the peak of memory anew"
    try:
        with open('/proc/self/clear_refs', 'w') as f: f.write('5')
    except OSError: pass

class Row:
    "What came of the inputs of one target"
    def __init__(self): self.outcomes, self.failures, self.seconds, self.slowest, self.peak = collections.Counter(), [], 0., (0., None), (0., None)
    def add(self, o):
        self.outcomes, self.failures, self.seconds = self.outcomes + o.outcomes, self.failures + o.failures, self.seconds + o.seconds
        self.slowest, self.peak = max(self.slowest, o.slowest, key=lambda p: p[0]), max(self.peak, o.peak, key=lambda p: p[0])
        return self
    def count(self, outcome): return sum(n for (_, o), n in self.outcomes.items() if o == outcome)
    inputs = property(lambda self: sum(self.outcomes.values()))

def try_one(name, one, seed, index, row):
    "Try one input, and enter what came of it"
    dice, problem = Dice(f'{seed} {name} {index}'), None
    forget_peak()
    start, cpu, before = time.perf_counter(), time.process_time(), memory('VmRSS')
    try: outcome = one(dice)
    except Refused: outcome = 'refused'
    except (KeyboardInterrupt, SystemExit): raise
    except BaseException as e: outcome, problem = 'failure', ''.join(traceback.format_exception(e, limit=-4)).strip()
    cpu, grown = time.process_time() - cpu, memory('VmHWM') - before
    seconds = time.perf_counter() - start
    if cpu > SECONDS: outcome, problem = 'failure', f'took {cpu:.1f} s of processor time'
    if grown > TARGETS[name].megabytes: outcome, problem = 'failure', f'took {grown:.0f} MB, allowed are {TARGETS[name].megabytes}' + (f'; {problem}' if problem else '')
    row.outcomes[dice.how, outcome] += 1
    row.seconds += seconds
    row.slowest, row.peak = max(row.slowest, (seconds, index), key=lambda p: p[0]), max(row.peak, (grown, index), key=lambda p: p[0])
    if problem: row.failures.append((index, dice.how, problem))

class Bench:
    "The target at hand, with its files in a folder of their own"
    def __init__(self, limited): self.name, self.folder, self.limited = None, None, limited
    def get(self, name):
        if name != self.name:
            self.close()
            self.folder = Path(tempfile.mkdtemp(prefix='fuzz-')).resolve()
            self.name, self.one = name, TARGETS[name].make(name, self.folder)
            if self.limited: resource.setrlimit(resource.RLIMIT_AS, (int((memory('VmSize') + TARGETS[name].megabytes + 1024)*2**20) if memory('VmSize') else -1, resource.getrlimit(resource.RLIMIT_AS)[1]))
        return self.one
    def close(self):
        if self.limited: resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_AS)[1]))
        if self.folder: shutil.rmtree(self.folder, ignore_errors=True)
        self.name = self.folder = self.one = None

def work(conn, seed, place, root):
    "A process that tries the inputs it is told to, and says at each one which it is"
    tempfile.tempdir = root
    os.dup2(os.open(Path(root)/f'{os.getpid()}.log', os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)   # libtiff complains there
    os.environ['OMP_NUM_THREADS'] = '1'
    warnings.simplefilter('ignore')                                                         # Pillow warns of large or odd pictures; whether they do harm is what is tested
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**28, 2**28))
    bench = Bench(True)
    try:
        while (task := conn.recv()) is not None:
            name, indices = task
            place[0], place[1] = -1, time.time()
            one, row = bench.get(name), Row()
            for i in indices:
                place[0], place[1] = i, time.time()
                try_one(name, one, seed, i, row)
            conn.send(row)
    except (EOFError, KeyboardInterrupt): pass
    finally: bench.close()

def shares(names, n):
    "How many of n inputs each target gets"
    ends = [round(n*s / sum(TARGETS[k].share for k in names)) for s in itertools.accumulate(TARGETS[k].share for k in names)]
    return {k: b - a for k, a, b in zip(names, [0, *ends], ends)}

def run(n=2000, seed=0, only=None, workers=0, progress=None):
    "Try n inputs on all targets, or on some of them; target → `Row`. With workers=0 in this process, without limits of its memory"
    names = list(only or TARGETS)
    if wrong := [k for k in names if k not in TARGETS]: raise ValueError(f"no target {wrong[0]!r}: there are {', '.join(TARGETS)}")
    rows, counts, start, said = {k: Row() for k in names}, shares(names, n), time.time(), time.time()
    if not workers:
        bench = Bench(False)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                for k, m in counts.items():
                    for i in range(m): try_one(k, bench.get(k), seed, i, rows[k])
        finally: bench.close()
        return rows
    context, size = multiprocessing.get_context('spawn'), max(20, min(500, n // 100))
    todo = collections.deque((k, range(a, min(a + size, m))) for k, m in counts.items() for a in range(0, m, size))
    with tempfile.TemporaryDirectory(prefix='fuzz-') as root:
        def begin():
            ours, theirs = context.Pipe()
            place = context.RawArray('d', 2)
            p = context.Process(target=work, args=(theirs, seed, place, root), daemon=True)
            p.start()
            theirs.close()
            return types.SimpleNamespace(process=p, conn=ours, place=place, task=None)
        def give(w):
            w.task = todo.popleft() if todo else None
            w.place[0], w.place[1] = -1, time.time() + 60                                   # an import may take its time
            try: w.conn.send(w.task)
            except OSError: pass
        crew = [begin() for _ in range(workers)]
        for w in crew: give(w)
        try:
            while busy := [w for w in crew if w.task]:
                for w in busy:
                    died = False
                    if w.conn in wait([o.conn for o in busy], 1):
                        try: rows[w.task[0]].add(w.conn.recv()); give(w); continue
                        except (EOFError, OSError): died = True
                    hung = time.time() - w.place[1] > HANG
                    if not died and not hung: continue
                    if hung: w.process.kill()
                    w.process.join()
                    (name, indices), at = w.task, int(w.place[0])
                    log = (Path(root)/f'{w.process.pid}.log').read_text(errors='replace')[-3000:]
                    if at < 0: raise RuntimeError(f'{name}: the process ended before the first input, with exit code {w.process.exitcode}: {log}')
                    row = Row()
                    row.outcomes['', 'failure'] += 1
                    row.failures.append((at, '', f'took more than {HANG:.0f} s' if hung else f'the process ended with exit code {w.process.exitcode}: {log}'))
                    rows[name].add(row)
                    todo.extendleft((name, r) for r in (range(at + 1, indices.stop), range(indices.start, at)) if r)
                    crew[crew.index(w)] = new = begin()
                    give(new)
                if progress and time.time() - said > 30: said = time.time(); progress(sum(r.inputs for r in rows.values()), n, time.time() - start)
        finally:
            for w in crew:
                if w.process.is_alive() and w.task: w.process.kill()
                w.process.join()
    for r in rows.values(): r.failures.sort(key=lambda f: f[0])
    return rows

def table(rows, kinds=False):
    "What came of it, as text"
    heads = ('target', 'inputs', 'refused', 'unchanged', 'harmless', 'failures', 'seconds', 'slowest', 'peak MB')
    def line(name, r): return (name, *(f'{v:,}' for v in (r.inputs, *(r.count(o) for o in ('refused', 'unchanged', 'harmless', 'failure')))), f'{r.seconds:.0f}', f'{r.slowest[0]*1e3:,.0f} ms', f'{r.peak[0]:.0f}')
    lines = [heads]
    for k, r in rows.items():
        lines.append(line(k, r))
        for how in sorted({how for how, _ in r.outcomes}) if kinds else (): lines.append((f'  {how}', f'{sum(r.outcomes[how, o] for o in ("refused", "unchanged", "harmless", "failure")):,}', *(f'{r.outcomes[how, o]:,}' for o in ('refused', 'unchanged', 'harmless', 'failure')), '', '', ''))
    whole = Row()
    for r in rows.values(): whole.add(r)
    lines.append(line('all', whole))
    widths = [max(len(l[i]) for l in lines) for i in range(len(heads))]
    return '\n'.join('  '.join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(l, widths))) for l in lines)

def with_h5py(n, seed):
    "For comparison: flipped bits outside images and labels, read by HDF5 itself, each in a process of its own"
    import h5py
    from genesis_v2.data.store import read_header
    tally = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        good, truth, path = write_small_store(Path(folder)/'good.h5', True), stored_scenes(True), Path(folder)/'mutant.h5'
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
                    with h5py.File(path) as f: right = np.array_equal(f['images'][:], truth.images) and np.array_equal(f['labels'][:], truth.labels) and np.array_equal(f['split'][:], np.arange(ITEMS) % 3) and len(f['source'][:]) + len(dict(f.attrs))
                    os._exit(0 if right else 2)
                except Exception: os._exit(1)
            status = os.waitpid(pid, 0)[1]
            tally[f'ended by signal {os.WTERMSIG(status)}' if os.WIFSIGNALED(status) else ('read rightly', 'exception', 'read WRONGLY')[os.WEXITSTATUS(status)]] += 1
    print(f'{n} stores with 1 to 3 flipped bits outside images and labels, read by h5py {h5py.__version__} (HDF5 {h5py.version.hdf5_version}): {dict(tally)}')

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=100_000, help='inputs')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--only', nargs='+', metavar='NAME', help=f"targets: {', '.join(TARGETS)}")
    p.add_argument('--index', type=int, help='repeat this one input, in this process')
    p.add_argument('--workers', type=int, default=2, help='processes')
    p.add_argument('--kinds', action='store_true', help='tell kinds of damage apart in the table')
    p.add_argument('--h5py', type=int, metavar='N', help='for comparison: N damaged stores through h5py instead')
    a = p.parse_args()
    if a.h5py: return with_h5py(a.h5py, a.seed)
    if wrong := [k for k in a.only or () if k not in TARGETS]: p.error(f"no target {wrong[0]!r}: there are {', '.join(TARGETS)}")
    start = time.time()
    if a.index is not None:
        if not a.only or len(a.only) > 1: p.error('--index needs one target: --only NAME')
        bench, rows = Bench(True), {a.only[0]: Row()}
        try: try_one(a.only[0], bench.get(a.only[0]), a.seed, a.index, rows[a.only[0]])
        finally: bench.close()
    else: rows = run(a.n, a.seed, a.only, max(1, a.workers), lambda done, n, seconds: print(f'{done:,} of {n:,} inputs, {seconds:.0f} s', flush=True))
    print(table(rows, a.kinds or a.index is not None))
    failures = [(k, *f) for k, r in rows.items() for f in r.failures]
    seen = collections.Counter()
    for name, index, how, problem in failures:
        seen[name] += 1
        if seen[name] <= 5: print(f'\nFAILURE in {name} ({how}); again with --only {name} --seed {a.seed} --index {index}:\n{problem}')
    print(f'\n{sum(r.inputs for r in rows.values()):,} inputs (seed {a.seed}), {len(failures):,} failures, {time.time() - start:.0f} s')
    return 1 if failures else 0

if __name__ == '__main__': sys.exit(main())
