"""Pictures of what a model does."""

from .contact_sheet import contact_sheet

__all__ = ['contact_sheet']
