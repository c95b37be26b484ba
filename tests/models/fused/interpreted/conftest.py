"""These tests run in a process of their own, which test_interpreted.py starts."""

import os

collect_ignore_glob = [] if os.environ.get('TRITON_INTERPRET') == '1' else ['test_*.py']
