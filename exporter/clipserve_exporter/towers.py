"""The two towers of an open_clip model as TorchScript modules of their own.

Each holds only its own weights, takes what the gateway sends (uint8 pixels, int32 token ids) and answers
float32 embeddings before L2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clipserve_exporter.source import ExportError, Source

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MAX_GROUPS = 3


class ImageTower(nn.Module):
    """Pixels uint8 [B, S, S, 3] → float32 [B, D]."""

    def __init__(self, source: Source, dtype: torch.dtype) -> None:
        super().__init__()
        self.visual = source.model.visual.to(dtype)
        self.dtype = dtype
        self.register_buffer("mean", torch.tensor(source.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(source.std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalizes as open_clip does: (x / 255 − mean) / std, in float32."""
        x = (pixels.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        features = self.visual(x.to(self.dtype))
        return (features[0] if isinstance(features, tuple) else features).float()


class CausalTextTower(nn.Module):
    """Token ids int64 [B, L], any L up to the context → float32 [B, D].

    For causal towers that read their embedding at the end token: what follows it has no influence, so that a
    shorter context gives the same embedding.
    """

    def __init__(self, text: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.token_embedding = text.token_embedding
        self.transformer = text.transformer
        self.ln_final = text.ln_final
        self.positional_embedding = nn.Parameter(text.positional_embedding.detach().clone())
        self.register_buffer("attn_mask", text.attn_mask.detach().clone())
        projection = text.text_projection
        self.linear = projection if isinstance(projection, nn.Linear) else None
        self.matrix = (
            nn.Parameter(projection.detach().clone()) if isinstance(projection, nn.Parameter) else None
        )
        self.to(dtype)

    def forward(self, ids: Tensor) -> Tensor:
        """As open_clip's encode_text, at the length of the input; the end token is the largest id."""
        length = ids.shape[1]
        x = self.token_embedding(ids) + self.positional_embedding[:length]
        x = self.ln_final(self.transformer(x, attn_mask=self.attn_mask[:length, :length]))
        # gather, not arange: a trace would bake the device of an arange into the graph.
        end = ids.argmax(dim=-1)[:, None, None].expand(-1, 1, x.shape[2])
        x = x.gather(1, end)[:, 0]
        if self.linear is not None:
            x = self.linear(x)
        elif self.matrix is not None:
            x = x @ self.matrix
        return x.float()


class FixedTextTower(nn.Module):
    """Token ids int32 [B, context_length] → float32 [B, D], for towers that need their full length."""

    def __init__(self, source: Source, dtype: torch.dtype) -> None:
        super().__init__()
        if not hasattr(source.model, "text"):
            raise ExportError(f"{source.architecture}: this kind of text tower is not supported")
        self.text = source.model.text.to(dtype)

    def forward(self, ids: Tensor) -> Tensor:
        """The tower's own forward."""
        features = self.text(ids.long())
        return (features[0] if isinstance(features, tuple) else features).float()


class RaggedText(nn.Module):
    """Flat token ids int32 [total] and the length of each text, float32 [n, 1] → float32 [n, D].

    Texts of a batch are padded to the longest; a batch of very unequal lengths is cut into up to three groups
    where that saves a quarter of the tokens, so that one long text does not make all others long.
    """

    def __init__(self, tower: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.tower = tower
        self.max_groups = MAX_GROUPS

    def forward(self, flat: Tensor, lengths: Tensor) -> Tensor:
        """Scripted, because its control flow depends on the lengths."""
        sizes = lengths.reshape(-1).to(torch.int64)
        starts = sizes.cumsum(0) - sizes
        ordered, order = sizes.sort()
        tokens: list[int] = ordered.tolist()
        bounds = self.groups(tokens)
        found: list[Tensor] = []
        for i in range(len(bounds) - 1):
            members = order[bounds[i] : bounds[i + 1]]
            positions = torch.arange(tokens[bounds[i + 1] - 1], device=flat.device)
            inside = positions.unsqueeze(0) < sizes[members].unsqueeze(1)
            places = (starts[members].unsqueeze(1) + positions.unsqueeze(0)).clamp(max=flat.shape[0] - 1)
            found.append(self.tower(flat[places].to(torch.int64) * inside))
        return torch.cat(found)[order.argsort()]

    def groups(self, tokens: list[int]) -> list[int]:
        """Bounds of groups of the ordered lengths: each cut is the one that saves most padding."""
        bounds = [0, len(tokens)]
        while len(bounds) - 1 < self.max_groups:
            total = 0
            best_saving, best_cut = 0, 0
            for i in range(len(bounds) - 1):
                first, last = bounds[i], bounds[i + 1]
                total += (last - first) * tokens[last - 1]
                for cut in range(first + 1, last):
                    saving = (cut - first) * (tokens[last - 1] - tokens[cut - 1])
                    if saving > best_saving:
                        best_saving, best_cut = saving, cut
            if best_saving * 4 < total:
                break
            bounds.append(best_cut)
            bounds.sort()
        return bounds


def is_causal(source: Source) -> bool:
    """Whether the text tower is causal and read at its end token: then short texts need no padding."""
    text = getattr(source.model, "text", source.model)
    pool = getattr(text, "pool_type", getattr(text, "text_pool_type", None))
    return (
        getattr(text, "attn_mask", None) is not None
        and pool in ("argmax", "eos")
        and getattr(text, "cls_emb", None) is None
        and not getattr(text, "use_pad_mask", False)
    )


@torch.no_grad()
def trace_image(source: Source, precision: str) -> torch.jit.ScriptModule:
    """The image tower as TorchScript."""
    size = source.image_size
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    return trace(ImageTower(source, DTYPES[precision]), example)


@torch.no_grad()
def trace_text(source: Source, precision: str) -> torch.jit.ScriptModule:
    """The text tower as TorchScript: ragged where it is causal, else of fixed length."""
    dtype = DTYPES[precision]
    if not is_causal(source):
        return trace(FixedTextTower(source, dtype), torch.zeros(2, source.context_length, dtype=torch.int32))
    text = getattr(source.model, "text", source.model)
    tower = trace(CausalTextTower(text, dtype), torch.ones(2, 9, dtype=torch.int64))
    return torch.jit.script(RaggedText(tower).eval())


def trace(module: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """Traces in eval mode, without the fused attention path, whose shapes a trace would fix."""
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        return torch.jit.trace(module.eval(), example, check_trace=False)
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)


def baked_devices(module: torch.jit.ScriptModule) -> list[str]:
    """Devices that the graph names outright; such a graph fails on any other one."""
    # Nodes live as long as their graph does.
    graph = module.inlined_graph
    nodes = graph.findAllNodes("prim::Constant", True)
    return [str(node.output().toIValue()) for node in nodes if node.output().type().kind() == "DeviceObjType"]
