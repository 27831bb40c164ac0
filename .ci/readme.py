"""Make README.md from nbs/index.ipynb; standard library only, no Quarto.

    python3 .ci/readme.py             write README.md and nbs/images/index_*.png
    python3 .ci/readme.py --check     exit with 1 and say what differs if they are not current

Markdown cells are copied as they stand. Code cells become ```python blocks, followed by their stored outputs: text as indented blocks,
pictures as files. The directives of nbdev and Quarto keep their meaning: cells marked hide, export, exporti, default_exp or include: false
are left out, `echo: false` drops the code, `output: false` the outputs, `fig-alt` becomes the alternative text. Relative links are rewritten,
since README.md lies one folder above the notebook; a link to a file that does not exist is an error.
"""
import argparse, base64, difflib, json, posixpath, re, sys
from pathlib import Path

NOTE = '<!-- Made from nbs/index.ipynb by .ci/readme.py. Edit the notebook, then run the script again. -->'
DROP = {'hide', 'export', 'exporti', 'default_exp'}

_directive = re.compile(r'^[ \t]*#[ \t]*\|[ \t]*([\w-]+)[ \t]*:?[ \t]*(.*?)[ \t]*$', flags=re.M)
_fence = re.compile(r'(^(`{3,}|~{3,}).*?^\2[ \t]*$)', flags=re.S | re.M)
_code_span = re.compile(r'(`+)(?!`).+?(?<!`)\1(?!`)', flags=re.S)
_link = re.compile(r'(\]\()(<[^>\n]+>|[^)\s]+)(?=[\s)])|(\b(?:src|href)=")([^"]+)(?=")|(^\[[^\]\n]+\]:[ \t]*)(\S+)', flags=re.M)


def directives(
    source, # Source of a code cell
):
    "Directives at the head of a cell as a dict, and the rest of the source"
    lines, res = source.split('\n'), {}
    while lines and (not lines[0].strip() or _directive.fullmatch(lines[0])):
        if m := _directive.fullmatch(lines.pop(0)): res[m[1]] = m[2].strip('"\'')
    rest = [o for o in lines if not re.search(r'#[ \t]*\|[ \t]*hide_line[ \t]*$', o)]
    return res, '\n'.join(rest).strip('\n')


def rebase(
    target, # Target of a link in the notebook
    folder, # Folder of the notebook, relative to the root
):
    "The same target as seen from the root; addresses, anchors and absolute paths stay"
    if re.match(r'[a-zA-Z][\w+.-]*:|#|/', target): return target
    path, *anchor = re.split(r'(?=[#?])', target, maxsplit=1)
    return posixpath.normpath(posixpath.join(folder, path)) + ''.join(anchor)


def relink(
    text, # Markdown without fenced blocks
    folder, # Folder of the notebook, relative to the root
    found, # List to which the rebased relative targets are appended
):
    "Rewrite the relative links of a text, inline code aside"
    def one(m):
        head, target = next((a, b) for a, b in zip(m.groups()[::2], m.groups()[1::2]) if a)
        bare = target.strip('<>')
        new = rebase(bare, folder)
        if new != bare: found.append(new)
        return head + (f'<{new}>' if target[0] == '<' else new)
    spans = []
    def keep(m): spans.append(m[0]); return f'\0{len(spans)-1}\0'
    text = _link.sub(one, _code_span.sub(keep, text))
    return re.sub('\0(\\d+)\0', lambda m: spans[int(m[1])], text)


def markdown(
    source, # Source of a markdown cell
    folder, # Folder of the notebook, relative to the root
    found, # List to which the rebased relative targets are appended
):
    "A markdown cell for the README: links rebased, front matter, Quarto's ::: fences and {attributes} of pictures left out"
    source = re.sub(r'\A---\n.*?\n---[ \t]*(?:\n|\Z)', '', source, flags=re.S)
    res = []
    for i, part in enumerate(_fence.split(source)):
        if i % 3 == 2: continue  # the fence's own marks, captured by the inner group
        if i % 3 == 0:
            part = re.sub(r'^:{3,}.*\n?', '', part, flags=re.M)
            part = re.sub(r'(!\[[^\]]*\]\([^)]*\))\{[^}\n]*\}', r'\1', part)
            part = relink(part, folder, found)
        res.append(part)
    return ''.join(res).strip('\n')


def _text(o): return ''.join(o) if isinstance(o, list) else o

def _indent(text):
    text = re.sub(r'\x1b\[[0-9;]*[A-Za-z]', '', text).strip('\n')
    return '\n'.join('    ' + o if o.strip() else '' for o in text.split('\n')) if text else ''


class Readme:
    "Text, pictures and relative links of the README that an index notebook gives"
    def __init__(self,
        nb, # Notebook as a dict
        folder='nbs', # Folder of the notebook, relative to the root
        stem='index', # Name of the notebook: pictures are folder/images/stem_1.png, …
    ):
        self.folder, self.stem, self.images, self.links = folder, stem, {}, []
        parts = [NOTE]
        for cell in nb['cells']:
            parts += getattr(self, cell['cell_type'])(cell)
        self.text = '\n\n'.join(o for o in parts if o.strip()) + '\n'

    def raw(self, cell): return []

    def markdown(self, cell):
        source = _text(cell['source'])
        return [] if DROP & directives(source)[0].keys() else [markdown(source, self.folder, self.links)]

    def code(self, cell):
        d, source = directives(_text(cell['source']))
        if DROP & d.keys() or d.get('include') == 'false' or 'nbdev_export()' in source: return []
        res = [f'```python\n{source}\n```'] if source and d.get('echo') != 'false' else []
        if d.get('output') != 'false':
            for o in cell.get('outputs', []): res.append(self.output(o, d))
        return res

    def output(self, o, d):
        if o['output_type'] == 'stream': return _indent(_text(o['text'])) if o['name'] == 'stdout' else ''
        if o['output_type'] == 'error': return _indent(f"{o['ename']}: {o['evalue']}")
        data = o.get('data', {})
        if 'image/png' in data:
            name = f'{self.folder}/images/{self.stem}_{len(self.images)+1}.png'
            self.images[name] = base64.b64decode(_text(data['image/png']))
            return f'![{d.get("fig-alt", "")}]({name})'
        if 'text/markdown' in data: return markdown(_text(data['text/markdown']), self.folder, self.links)
        if 'application/vnd.jupyter.widget-view+json' in data: return ''  # needs a running notebook
        return _indent(_text(data.get('text/plain', '')))

    def problems(self, root):
        "How the files under `root` differ from this README"
        for n in sorted({posixpath.normpath(re.split('[#?]', o)[0]) for o in self.links}):
            if not (root/n).exists() and n not in self.images: yield f'{self.folder}/{self.stem}.ipynb links to {n}, which does not exist'
        f = root/'README.md'
        old = f.read_text(encoding='utf-8') if f.exists() else ''
        if old != self.text:
            diff = difflib.unified_diff(old.split('\n'), self.text.split('\n'), 'README.md', f'{self.folder}/{self.stem}.ipynb', n=1, lineterm='')
            yield 'README.md is not current; run `python3 .ci/readme.py` and commit the result\n' + '\n'.join(list(diff)[:40])
        for n, b in self.images.items():
            if not (root/n).exists() or (root/n).read_bytes() != b: yield f'{n} is not current; run `python3 .ci/readme.py` and commit the result'
        for n in self.stale(root): yield f'{n.relative_to(root)} is left from an older README; remove it'

    def stale(self, root):
        "Pictures made by an older version of the notebook"
        return [f for f in sorted((root/self.folder/'images').glob(f'{self.stem}_*.png'))
                if re.fullmatch(rf'{self.stem}_\d+', f.stem) and f.relative_to(root).as_posix() not in self.images]

    def write(self, root):
        "Write README.md and the pictures, remove the stale ones"
        for f in self.stale(root): f.unlink()
        for n, b in self.images.items():
            (root/n).parent.mkdir(parents=True, exist_ok=True)
            if not (root/n).exists() or (root/n).read_bytes() != b: (root/n).write_bytes(b)
        (root/'README.md').write_text(self.text, encoding='utf-8')


def main():
    p = argparse.ArgumentParser(description='Make README.md from nbs/index.ipynb')
    p.add_argument('--check', action='store_true', help='write nothing; exit with 1 if README.md is not current')
    p.add_argument('--root', type=Path, default=Path(__file__).resolve().parent.parent, help='repository root')
    args = p.parse_args()
    nb = args.root/'nbs'/'index.ipynb'
    if not nb.exists(): sys.exit(f'{nb} does not exist')
    readme = Readme(json.loads(nb.read_text(encoding='utf-8')))
    if not args.check: readme.write(args.root)
    problems = list(readme.problems(args.root))
    if problems: sys.exit('\n'.join(problems))
    print(f'README.md is current: {len(readme.text)} characters, {len(readme.images)} pictures, {len(readme.links)} relative links')


if __name__ == '__main__': main()
