"""Package metadata from settings.ini; everything about building that nbdev does not need to know."""
import re, shlex
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']
version = re.search(r'__version__ = "([^"]+)"', (here/cfg['lib_path']/'__init__.py').read_text(encoding='utf-8'))[1]
scenes, export = (shlex.split(cfg[f'{k}_requirements']) for k in ('scenes', 'export'))

setup(name=cfg['lib_name'], version=version, description=cfg['description'], keywords=cfg['keywords'].split(), license=cfg['license'],
      author=cfg['author'], author_email=cfg['author_email'], python_requires='>=' + cfg['min_python'],
      long_description=(here/'README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
      packages=find_packages(include=[cfg['lib_name'], cfg['lib_name'] + '.*']), include_package_data=True,
      package_data={cfg['lib_name']: ['pretrained/*/*']},
      classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Science/Research', 'Programming Language :: Python :: 3.11',
                   'Programming Language :: Python :: 3.12', 'Topic :: Scientific/Engineering :: Artificial Intelligence'],
      install_requires=shlex.split(cfg['requirements']), extras_require={'scenes': scenes, 'export': export, 'dev': shlex.split(cfg['dev_requirements']) + scenes + export},
      entry_points={'console_scripts': cfg['console_scripts'].split('\n'), 'nbdev': [f"{cfg['lib_name']}={cfg['lib_path']}._modidx:d"]})
