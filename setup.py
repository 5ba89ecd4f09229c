"""Metadata of the package. Settings of the tools are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = next(
    line.split('"')[1]
    for line in (here / "gearmanny/__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)

DJANGO = ["Django>=5.2"]
MONGO = ["pymongo>=4.13"]
OPENTELEMETRY = ["opentelemetry-api>=1.30"]
PROMETHEUS = ["prometheus_client>=0.21"]
FAST = ["orjson>=3.11"]
POSTGRES = ["psycopg>=3.2"]
SCHEDULES = ["cronsim>=2.6"]
# A server that speaks MongoDB's wire protocol. GPL: never a dependency of the package itself.
DEMO = [*DJANGO, *MONGO, "SecantusDB==0.7.0b3"]
TEST = [
    *DEMO,
    *FAST,
    *OPENTELEMETRY,
    *PROMETHEUS,
    *SCHEDULES,
    "axe-playwright-python>=0.1.4",
    "coverage>=7.10",
    'django-overseer>=0.1.4; python_version >= "3.12"',
    'django-tasks>=0.12; python_version < "3.12"',
    "django-tasks-db>=0.13",
    "gunicorn>=22",
    "hypothesis>=6.100",
    "msgpack>=1",
    "opentelemetry-sdk>=1.30",
    "playwright>=1.44",
    "psycopg[binary,pool]>=3.2",
    "pymemcache>=4",
    "pytest>=8",
    "pytest-cov>=7",
    "pytest-django>=4.8",
    "pytest-xdist>=3.6",
    "PyYAML>=6",
    "trustme>=1.2",
    "uvicorn>=0.30",
]

setup(
    name="gearmanny",
    version=version,
    description="Workers and clients for the Gearman job server, alone and inside Django",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["gearmanny", "gearmanny.*"]),
    package_data={
        "gearmanny": ["py.typed"],
        "gearmanny.contrib.django": ["templates/**/*.html", "static/**/*"],
    },
    python_requires=">=3.11",
    install_requires=["gearman3>=0.2.1"],
    entry_points={
        "console_scripts": ["gearmanny = gearmanny.cli:main"],
        "pytest11": ["gearmanny = gearmanny.pytest_plugin"],
    },
    extras_require={
        "django": DJANGO,
        "fast": FAST,
        "mongo": MONGO,
        "opentelemetry": OPENTELEMETRY,
        "postgres": POSTGRES,
        "prometheus": PROMETHEUS,
        "schedules": SCHEDULES,
        "demo": DEMO,
        "test": TEST,
        "dev": [*TEST, "basedpyright>=1.31", "django-stubs>=5.2", "mypy>=1.15", "ruff>=0.12"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Framework :: Django :: 5.2",
        "Framework :: Django :: 6.0",
        "Framework :: Django :: 6.1",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
