"""`ChatPiNative`: the gateway's models in LangChain; needs the extra `pi-native[langchain]`."""

from __future__ import annotations

from ._chat_model import ChatPiNative

__all__ = ["ChatPiNative"]

# Pickles, LangChain's own JSON and tracebacks name the public module.
ChatPiNative.__module__ = __name__
