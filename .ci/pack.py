"""Makes a model of the package from a finished run: `python .ci/pack.py runs/box sprites` writes genesis_v2/pretrained/sprites (weights as float16, how they were made, scores, learning curve)."""
import json
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parent.parent


def made_by(
    commands, # the command lines that a run folder records
):
    "The commands as they are told to others: without the run folder's name"
    words = [shlex.split(line) for line in commands]
    for w in words:
        while '--out' in w: del w[w.index('--out'):w.index('--out') + 2]
    return ', then '.join(shlex.join(w) for w in words)


def pack(
    run, # folder of a finished run
    folder, # where the model goes; replaced as a whole
):
    "Write the model's folder beside its place, then swap it in"
    run, folder = Path(run), Path(folder)
    for f in ('config.json', 'metrics.jsonl', 'model/config.json', 'model/model.safetensors'):
        if not (run/f).is_file(): sys.exit(f'{run} is not a finished run: it has no {f}')
    commands = json.loads((run/'config.json').read_text()).get('commands')
    if not commands: sys.exit(f'{run} does not say which command made it (it is from an older version): train it again')
    config = json.loads((run/'model'/'config.json').read_text()) | dict(made_by=made_by(commands) + '; weights stored as float16')
    state = {k: v.half() if v.is_floating_point() else v for k, v in load_file(run/'model'/'model.safetensors').items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as tmp:
        new = Path(tmp)/'new'
        new.mkdir()
        save_file(state, new/'model.safetensors')
        (new/'config.json').write_text(json.dumps(config, indent=1) + '\n')
        shutil.copy(run/'metrics.jsonl', new)
        if folder.exists(): folder.rename(Path(tmp)/'old')
        new.rename(folder)
    return config['made_by']


if __name__ == '__main__':
    if len(sys.argv) != 3: sys.exit(__doc__)
    folder = ROOT/'genesis_v2'/'pretrained'/sys.argv[2]
    print(folder.relative_to(ROOT), pack(sys.argv[1], folder), f"{(folder/'model.safetensors').stat().st_size / 2**20:.1f} MiB", sep='; ')
