"""What can be known about the site without Quarto: python .ci/pages.py, in the development environment.

    sidebar     every page is in nbs/sidebar.yml, once, and nothing else is
    chapters    a page opens with a title and a promise, and ends with what to read next
    links       every relative link leads to a file, and its #anchor to a heading there
    pictures    every picture has words for those who cannot see it
    equations   every formula can be parsed
    outputs     what a cell shows is stored: a figure that has alternative text, the last expression of a cell
    badges      a tutorial's Colab badge opens that tutorial, and its first cell installs the package there
"""
import ast, json, re, sys
from pathlib import Path
from urllib.parse import unquote
import yaml
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
COLAB = 'https://colab.research.google.com/github/genesis-v2/genesis_v2/blob/main/'
FENCE = re.compile(r'^(```|~~~).*?^\1[ \t]*$|`[^`\n]+`', re.S | re.M)
LINK = re.compile(r'(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)')
KNOWN = {r'\arg'}        # to MathJax, though not to latex2mathml
MATH = re.compile(r'\$\$(.+?)\$\$|(?<![\\$\w])\$(?=\S)([^$\n]+?)(?<=\S)\$(?!\d)', re.S)


def pages():
    "Notebooks that become pages, as paths relative to nbs"
    return sorted(p.relative_to(NBS) for p in NBS.rglob('*.ipynb') if not any(part[0] in '._' for part in p.relative_to(NBS).parts))


def cells(page): return json.loads((NBS/page).read_text(encoding='utf-8'))['cells']
def source(cell): return ''.join(cell['source'])
def prose(cell): return FENCE.sub('', source(cell))
def directives(cell): return dict(m.groups() for m in re.finditer(r'^#\|[ ]*([\w-]+):?[ ]*(.*)$', source(cell), re.M))


def slugs(text):
    "Anchors of the headings of a markdown text, as pandoc makes them"
    for title in re.findall(r'^#{1,6}[ ]+(.+?)[ ]*$', text, re.M):
        if own := re.search(r'\{#([\w-]+)', title): yield own[1]
        title = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', title)
        yield re.sub(r'^[^a-z]+', '', re.sub(r'\s+', '-', re.sub(r'[^\w\s.-]', '', title.lower().replace('`', '').replace('$', ''))))


def listed(node):
    "File names in the sidebar, in order"
    for item in node:
        if isinstance(item, str): yield item
        elif 'contents' in item: yield from listed(item['contents'])
        elif 'href' in item: yield item['href']


def sidebar():
    names = list(listed(yaml.safe_load((NBS/'sidebar.yml').read_text(encoding='utf-8'))['website']['sidebar']['contents']))
    there = {p.as_posix() for p in pages()}
    for n in sorted(there - set(names)): yield f'{n} is not in nbs/sidebar.yml'
    for n in names:
        if n not in there: yield f'nbs/sidebar.yml lists {n}, which is not a page'
        if names.count(n) > 1: yield f'nbs/sidebar.yml lists {n} more than once'


def chapters():
    for page in pages():
        if page.name == 'index.ipynb': continue                                      # it has its own order
        texts = [source(c) for c in cells(page) if c['cell_type'] == 'markdown']
        if not re.match(r'# \S.*\n\n> \S', texts[0]): yield f'{page} does not open with a title and a promise (# title, > promise)'
        if not re.search(r'^(## |\*\*)What to read next(?!.*^## )', '\n'.join(texts), re.M | re.S): yield f'{page} does not end with "What to read next"'


def links():
    for page in pages():
        for n, cell in enumerate(cells(page)):
            if cell['cell_type'] != 'markdown': continue
            for _, _, target in LINK.findall(prose(cell)):
                if re.match(r'[a-z]+:', target): continue
                path, _, anchor = unquote(target).partition('#')
                file = (NBS/page).parent/path if path else NBS/page
                if not file.exists(): yield f'{page}, cell {n}: there is no {target}'
                elif anchor and file.suffix == '.ipynb':
                    text = '\n'.join(source(c) for c in json.loads(file.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'markdown')
                    if anchor not in set(slugs(text)): yield f'{page}, cell {n}: {path or page} has no heading #{anchor}'


def pictures():
    for page in pages():
        for n, cell in enumerate(cells(page)):
            if cell['cell_type'] == 'markdown':
                for image, words, target in LINK.findall(prose(cell)):
                    if image and not words.strip(): yield f'{page}, cell {n}: the picture {target} has no words'
            elif 'hide' not in directives(cell) and any(k.startswith('image/') for o in cell.get('outputs', []) for k in o.get('data', {})):
                if not directives(cell).get('fig-alt', '').strip('" '): yield f'{page}, cell {n}: the figure has no #| fig-alt'


def equations():
    for page in pages():
        for n, cell in enumerate(cells(page)):
            if cell['cell_type'] != 'markdown': continue
            for found in MATH.finditer(prose(cell)):
                tex = found[1] or found[2]
                bare = re.sub(r'\\[\\{}]', '', tex)
                try: problems = [f'{c} is unknown' for c in set(re.findall(r'\\[A-Za-z]+', convert(tex))) - KNOWN]       # what it doesn't know it leaves as it is
                except Exception as e: problems = [type(e).__name__]
                if bare.count('{') != bare.count('}'): problems = ['its braces do not match']
                for problem in problems: yield f'{page}, cell {n}: {" ".join(tex.split())!r}: {problem}'


def outputs():
    for page in pages():
        for n, cell in enumerate(cells(page)):
            d = directives(cell)
            if cell['cell_type'] != 'code' or d.get('eval') == 'false' or 'default_exp' in d or cell.get('outputs'): continue
            if 'fig-alt' in d: yield f'{page}, cell {n}: the figure is not stored'
            body = ast.parse(re.sub(r'^([%!].*)$', 'pass', source(cell), flags=re.M)).body
            # A call may well return None, and a test does; anything else that stands at the end of a cell stands there to be seen.
            shown = body and isinstance(body[-1], ast.Expr) and not isinstance(body[-1].value, (ast.Call, ast.Constant)) and not source(cell).rstrip().endswith(';')
            if shown and 'hide' not in d: yield f'{page}, cell {n}: the value of {ast.unparse(body[-1])[:60]} is not stored'


def badges():
    for page in pages():
        if page.parts[0] != 'tutorials': continue
        text, code = source(cells(page)[0]), next(c for c in cells(page) if c['cell_type'] == 'code')
        if f']({COLAB}nbs/{page.as_posix()})' not in text: yield f'{page}: the first cell has no badge that opens it in Colab'
        if 'pip install' not in source(code) or not {'hide', 'eval'} <= set(directives(code)): yield f'{page}: the first code cell is not a hidden one that installs the package in Colab'


if __name__ == '__main__':
    checks = [sidebar, chapters, links, pictures, equations, outputs, badges]
    problems = [p for check in checks for p in check()]
    for p in problems: print(p)
    formulas = sum(len(MATH.findall(prose(c))) for p in pages() for c in cells(p) if c['cell_type'] == 'markdown')
    print(f'{len(pages())} pages, {formulas} formulas: {", ".join(c.__name__ for c in checks)}: {len(problems)} problems')
    sys.exit(bool(problems))
