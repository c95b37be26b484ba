"""The configs that come with the package, found and listed without importing torch or a host."""

from inimg_mm.carried import home

from .index import (
    INDEX,
    METAFILE,
    CatalogueError,
    Entry,
    config_files,
    entries,
    find,
    get,
    listing,
    read_metafile,
)

__all__ = [
    'INDEX',
    'METAFILE',
    'CatalogueError',
    'Entry',
    'config_files',
    'entries',
    'find',
    'get',
    'home',
    'listing',
    'read_metafile',
]
