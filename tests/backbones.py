"""A tiny sentence-transformers model, real in every part, whose words of one meaning lie side by side."""

from collections.abc import Sequence
from pathlib import Path

import torch

HIDDEN, POSITIONS = 32, 16
MEANINGS = (
    ("rocket", "astronaut", "planet", "galaxy"),
    ("kitchen", "chef", "recipe", "gourmet"),
    ("murder", "detective", "corpse", "whodunit"),
    ("guitar", "band", "melody", "orchestra"),
)
"""Words of one meaning, for each of four blocks of titles; none shares letters with its neighbours."""
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def save_backbone(folder: Path, meanings: Sequence[Sequence[str]], seed: int = 0) -> Path:
    """Saves a BERT of two random layers; gives the folder. meanings: words, those of one meaning together.

    The embeddings of such words differ by little, so that texts of them are embedded alike.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    words = [*_SPECIAL, *(word for group in meanings for word in group)]
    place = {word: row for row, word in enumerate(words)}
    tokens = Tokenizer(models.WordLevel(place, unk_token="[UNK]"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(name, place[name]) for name in ("[CLS]", "[SEP]")]
    tokens.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    named = {f"{name[1:-1].lower()}_token": name for name in _SPECIAL}
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=POSITIONS,
        initializer_range=0.2,
    )
    model = BertModel(config).eval()
    with torch.no_grad():
        table = model.embeddings.word_embeddings.weight
        for group in meanings:
            rows = [place[word] for word in group]
            table[rows] = torch.randn(HIDDEN) + 0.05 * torch.randn(len(rows), HIDDEN)
    plain = folder.with_name(f"{folder.name}_plain")
    model.save_pretrained(plain)
    PreTrainedTokenizerFast(tokenizer_object=tokens, **named).save_pretrained(plain)
    modules = [Transformer(str(plain)), Pooling(HIDDEN, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder))
    return folder
