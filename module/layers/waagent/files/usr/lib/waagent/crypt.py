"""The part of python's former `crypt` module that the Azure Linux agent uses, over libcrypt.

Removed from python in 3.13 (PEP 594); the agent needs it to set the password that the platform sends.
"""
import ctypes

for _name in ("libcrypt.so.2", "libcrypt.so.1"):
    try:
        _crypt = ctypes.CDLL(_name).crypt
        break
    except OSError:
        continue
else:
    raise ImportError("libcrypt was not found")

_crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
_crypt.restype = ctypes.c_char_p


def crypt(word, salt):
    """Return the hash of a password by crypt(3); the salt names the method, e.g. `$6$...`."""
    hashed = _crypt(word.encode("utf-8"), salt.encode("utf-8"))
    if hashed is None or hashed.startswith(b"*"):
        raise OSError("crypt(3) refused the salt")
    return hashed.decode("ascii")
