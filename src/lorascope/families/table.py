"""The table of architectures, and what a row of it holds."""

from dataclasses import dataclass
from typing import Final

from lorascope.families import marks as m
from lorascope.families.marks import Mark, marks


@dataclass(frozen=True, slots=True)
class Lineage:
    """A base model, and all that was trained further from it, within an architecture.

    Attributes:
        name: Such as "illustrious".
        spellings: How headers, sites and folders begin its name, in lower case and without punctuation.
        marks: What shows it in a file; most lineages have the same names and shapes and show in nothing.
        pipeline: The class of diffusers that runs it, if it is not the architecture's.
    """

    name: str
    spellings: tuple[str, ...]
    marks: tuple[Mark, ...] = ()
    pipeline: str = ""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model's architecture.

    Attributes:
        name: As presets and libraries write it, such as "sdxl".
        title: As people write it, such as "SDXL".
        spellings: How headers (``modelspec.architecture``, ``ss_base_model_version``) and sites (Civitai's
            ``baseModel``) begin its name, in lower case and without punctuation.
        marks: The modules by which a file of it is known.
        denoiser: The pipeline's component that adapters change first.
        text_encoders: The others that they may change.
        pipeline: The class of diffusers that runs it; empty if there is none.
        original: Whether adapters that spell its modules as its authors do are read, too, not only diffusers' names.
        generator: What renders with it in lorascope, as ``module:Class``; empty if its adapters cannot be measured.
        proven: Whether that was done with the weights that people use.
        repository: Where the configuration of its single-file checkpoints is; empty if these cannot be loaded.
        autoencoders: How files that hold its VAE alone are called: beginnings in lower case and without punctuation.
        like: A commoner architecture that this one was made from, and that has all modules of most of its adapters
            too. A file that fits both is called by the commoner name, unless its header says otherwise.
        lineages: The base models within it.
    """

    name: str
    title: str
    spellings: tuple[str, ...]
    marks: tuple[Mark, ...]
    denoiser: str = "transformer"
    text_encoders: tuple[str, ...] = ("text_encoder",)
    pipeline: str = ""
    original: bool = False
    generator: str = ""
    proven: bool = False
    repository: str = ""
    autoencoders: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    lineages: tuple[Lineage, ...] = ()

    @property
    def pipelines(self) -> tuple[str, ...]:
        """The classes of diffusers that run it, or one of its lineages."""
        return tuple(filter(None, (self.pipeline, *(lineage.pipeline for lineage in self.lineages))))

    @property
    def components(self) -> tuple[str, ...]:
        """The parts of the pipeline that an adapter may change."""
        return (self.denoiser, *self.text_encoders)


_DIFFUSION: Final = "lorascope.generators.diffusion:DiffusionGenerator"
_PIPELINE: Final = "lorascope.generators.pipeline:PipelineGenerator"
_TWO_CLIPS: Final = ("text_encoder", "text_encoder_2")
_FLUX_VAE: Final = ("ae", "flux", "flux1")
"""Its authors call it ae.safetensors."""
_THREE: Final = ("text_encoder", "text_encoder_2", "text_encoder_3")

ARCHITECTURES: Final[tuple[Architecture, ...]] = (
    Architecture(
        "sd15", "SD 1.5", ("sdv1", "sd1", "stablediffusionv1", "stablediffusion1"),
        (*marks((768,), m.CROSS), *m.SD_UNET, *marks((768,), m.CLIP_Q)),
        denoiser="unet", pipeline="StableDiffusionPipeline", original=True, generator=_DIFFUSION,
        repository="stable-diffusion-v1-5/stable-diffusion-v1-5", autoencoders=("vaeftmse", "sd15", "sdv15"),
    ),
    Architecture(
        "sd2", "SD 2", ("sdv2", "sd2", "stablediffusionv2", "stablediffusion2"),
        (*marks((1024,), m.CROSS), *m.SD_UNET, *marks((1024,), m.CLIP_Q)),
        denoiser="unet", pipeline="StableDiffusionPipeline", original=True, generator=_DIFFUSION,
        repository="stabilityai/stable-diffusion-2-1",
    ),
    Architecture(
        "sdxl", "SDXL", ("sdxl", "stablediffusionxl", "playgroundv2"),
        (
            *m.SDXL_UNET, *marks((2816,), "add_embedding_linear_1", "label_emb_0_0"),
            *marks((), r"te2_(?:text_model_|transformer_).*"),
        ),
        denoiser="unet", text_encoders=_TWO_CLIPS, pipeline="StableDiffusionXLPipeline", original=True,
        generator=_DIFFUSION,
        repository="stabilityai/stable-diffusion-xl-base-1.0", autoencoders=("sdxl",),
        lineages=(
            Lineage("sdxl-1.0", ("sdxl10", "sdxlbase", "sdxl1", "stablediffusionxlbase10")),
            Lineage("illustrious", ("illustrious",)),
            Lineage("noobai", ("noobai",)),
            Lineage("pony", ("pony", "ponydiffusion")),
            Lineage("animagine", ("animagine",)),
            Lineage("playground", ("playgroundv2",)),
            Lineage("sdxl-turbo", ("sdxlturbo",)),
            Lineage("sdxl-lightning", ("sdxllightning",)),
            Lineage("sdxl-hyper", ("sdxlhyper",)),
        ),
    ),
    Architecture(
        "kolors", "Kolors", ("kolors", "kwaikolors"),
        (*m.SDXL_UNET, *marks((4096,), "encoder_hid_proj"), *marks((5632,), "add_embedding_linear_1", "label_emb_0_0")),
        denoiser="unet", pipeline="KolorsPipeline", original=True, like=("sdxl",),
    ),
    Architecture(
        "svd", "Stable Video Diffusion", ("svd", "stablevideodiffusion"),
        (
            *marks((1024,), m.CROSS), *m.SD_UNET,
            *marks(
                (),
                m.UNET + r"(?:temporal_transformer_blocks|temporal_res_block|time_stack|time_mixer|time_mix_blocks).*",
            ),
        ),
        denoiser="unet", text_encoders=(), pipeline="StableVideoDiffusionPipeline", like=("sd2",),
    ),
    Architecture(
        "cascade", "Stable Cascade", ("stablecascade", "cascade"),
        marks((), r"(?:down|up)_blocks_\d+_\d+_(?:attention|kv_mapper|mapper|channelwise|depthwise).*"),
        pipeline="StableCascadePriorPipeline",
    ),
    Architecture(
        "pixart", "PixArt", ("pixart",),
        (
            *marks((1152,), m.CROSS_BLOCKS, r"transformer_blocks_#_ff_net_0_proj", blocks=28),
            *marks(
                (1152,), r"blocks_#_attn_(?:qkv|proj)", r"blocks_#_cross_attn_(?:q_linear|kv_linear|proj)",
                r"blocks_#_mlp_fc1", blocks=28,
            ),
        ),
        pipeline="PixArtSigmaPipeline",
    ),
    Architecture(
        "sd3", "SD 3", ("sd3", "stablediffusion3", "stablediffusionv3"),
        (
            *marks(
                (1536, 2432), m.JOINT, r"transformer_blocks_#_attn2_(?:to_[qkv]|to_out_0)",
                r"joint_blocks_#_(?:x|context)_block_attn2?_(?:qkv|proj)", blocks=38,
            ),
            *marks(
                (1536, 2432), r"transformer_blocks_#_ff(?:_context)?_net_0_proj",
                r"joint_blocks_#_(?:x|context)_block_mlp_fc1", blocks=38,
            ),
            *marks(
                (6144, 9728), r"transformer_blocks_#_ff(?:_context)?_net_2",
                r"joint_blocks_#_(?:x|context)_block_mlp_fc2", blocks=38,
            ),
            *marks(
                (1536, 2432), r"transformer_blocks_#_norm1(?:_context)?_linear",
                r"joint_blocks_#_(?:x|context)_block_adaLN_modulation_1", blocks=38,
            ),
            *marks((), r"te2_text_model_.*", r"te3_.*"),
        ),
        text_encoders=_THREE, pipeline="StableDiffusion3Pipeline", generator=_PIPELINE, original=True,
        autoencoders=("sd3", "sd35"), like=("sdxl",),
        lineages=(
            Lineage(
                "sd3.5-large", ("sd35large", "stablediffusion35large"),
                marks((2432,), m.JOINT, r"joint_blocks_#_(?:x|context)_block_attn_qkv"),
            ),
            Lineage(
                "sd3.5-medium", ("sd35medium", "stablediffusion35medium"),
                marks((1536,), r"transformer_blocks_#_attn2_to_[qkv]", r"joint_blocks_#_x_block_attn2_qkv"),
            ),
            Lineage("sd3-medium", ("sd3medium", "stablediffusion3medium")),
        ),
    ),
    Architecture(
        "flux", "FLUX.1", ("flux1", "flux", "fluxdev", "fluxschnell"),
        (
            *m.flux_like(19, 38), *m.flux_modulation(19, 38),
            *marks((), r"te2_encoder_block_.*", r"te3_.*"),
        ),
        text_encoders=_TWO_CLIPS, pipeline="FluxPipeline", generator=_PIPELINE, original=True,
        autoencoders=_FLUX_VAE, like=("sdxl", "sd3"),
        lineages=(
            Lineage("control", ("flux1cannydev", "flux1depthdev"), marks((128,), "img_in", "x_embedder")),
            Lineage("fill", ("flux1fill", "fluxfill"), marks((384,), "img_in", "x_embedder")),
            Lineage("kontext", ("flux1kontext", "fluxkontext")),
            Lineage("krea", ("flux1krea", "fluxkrea")),
            Lineage("schnell", ("flux1s", "flux1schnell", "fluxschnell")),
            Lineage("dev", ("flux1d", "flux1dev", "fluxdev")),
        ),
    ),
    Architecture(
        "chroma", "Chroma", ("chroma",),
        (*m.flux_like(19, 38), *marks((), r"distilled_guidance_layer_.*")),
        pipeline="ChromaPipeline", original=True, generator=_PIPELINE, autoencoders=_FLUX_VAE, like=("flux",),
    ),
    Architecture(
        "flux2", "FLUX.2", ("flux2",), (*m.FLUX2_DEV, *m.FLUX2_KLEIN_9B, *m.FLUX2_KLEIN_4B),
        pipeline="Flux2Pipeline", original=True, generator=_PIPELINE,
        lineages=(
            Lineage("dev", ("flux2d", "flux2dev"), m.FLUX2_DEV),
            Lineage("klein-9b", ("flux2klein9b",), m.FLUX2_KLEIN_9B, "Flux2KleinPipeline"),
            Lineage("klein-4b", ("flux2klein4b",), m.FLUX2_KLEIN_4B, "Flux2KleinPipeline"),
        ),
    ),
    Architecture(
        "flux3", "FLUX.3", ("flux3",),
        (
            *marks((3072,), m.SINGLE, r"single_transformer_blocks_#_attn_to_out_0", blocks=28),
            *marks((3072,), r"single_(?:transformer_)?blocks_#_(?:ff_linear|mlp)_in", blocks=28, rows=(18432,)),
            *marks((9216,), r"single_transformer_blocks_#_ff_linear_out", r"single_blocks_#_mlp_out", blocks=28),
            *marks((3072,), r"single_blocks_#_(?:[qkv]_proj|attn_out)", blocks=28),
            *marks((), r"(?:txt_|content_)?mode_blocks_.*"),
        ),
    ),
    Architecture(
        "hunyuan-video", "HunyuanVideo", ("hunyuanvideo", "hunyuan1video", "framepack"),
        (
            *m.flux_like(20, 40), *m.flux_modulation(20, 40),
            *marks(
                (3072, 12288), r"double_blocks_#_(?:img|txt)_mlp_fc[12]", r"double_blocks_#_(?:img|txt)_mod_linear",
                blocks=20,
            ),
            *marks((3072,), r"single_blocks_#_modulation_linear", blocks=40),
            *marks((), r"(?:txt_in|context_embedder)_(?:individual_token_refiner|token_refiner)_.*"),
        ),
        text_encoders=_TWO_CLIPS, pipeline="HunyuanVideoPipeline", like=("flux", "chroma"),
    ),
    Architecture(
        "qwen-image", "Qwen-Image", ("qwenimage", "qwen"),
        (
            *marks((3072,), m.JOINT, r"transformer_blocks_#_(?:img|txt)_(?:mlp_net_0_proj|mod_1)", blocks=60),
            *marks((12288,), r"transformer_blocks_#_(?:img|txt)_mlp_net_2", blocks=60),
        ),
        pipeline="QwenImagePipeline", generator=_PIPELINE,
        lineages=(Lineage("edit", ("qwenimageedit", "qwenedit")),),
    ),
    Architecture(
        "z-image", "Z-Image", ("zimage",),
        (
            *m.next_dit(3840, 30), *marks((256,), r"layers_#_adaLN_modulation_0"),
            *marks((10240,), r"layers_#_feed_forward_w2"),
        ),
        pipeline="ZImagePipeline", original=True, generator=_PIPELINE, autoencoders=_FLUX_VAE,
        lineages=(Lineage("turbo", ("zimageturbo",)), Lineage("base", ("zimagebase",))),
    ),
    Architecture(
        "auraflow", "AuraFlow", ("auraflow", "ponyv7"),
        (
            *marks(
                (3072,), r"joint_transformer_blocks_#_attn_(?:to_[qkv]|to_out_0|add_[qkv]_proj|to_add_out)",
                blocks=4,
            ),
            *marks(
                (), r"joint_transformer_blocks_#_(?:ff|norm).*", r"double_layers_#_(?:attn|mlp|mod).*",
                r"single_layers_#_(?:attn|mlp|mod).*",
            ),
            *marks(
                (3072,), m.SINGLE, r"single_transformer_blocks_#_attn_to_out_0",
                r"single_transformer_blocks_#_norm1_linear", blocks=32,
            ),
            *marks((3072, 8192), r"single_transformer_blocks_#_ff_(?:linear_[12]|out_projection)", blocks=32),
        ),
        pipeline="AuraFlowPipeline",
        lineages=(Lineage("pony-v7", ("ponyv7",)),),
    ),
    Architecture(
        "hidream", "HiDream-I1", ("hidream",), marks((), r"(?:double|single)_stream_blocks_#_block_.*"),
        text_encoders=(*_THREE, "text_encoder_4"), pipeline="HiDreamImagePipeline",
    ),
    Architecture(
        "lumina2", "Lumina 2", ("lumina",),
        (*m.next_dit(2304, 26), *marks((1024,), r"layers_#_(?:adaLN_modulation_1|norm1_linear)")),
        pipeline="Lumina2Pipeline",
    ),
    Architecture(
        "sana", "Sana", ("sana",),
        (
            *marks(
                (2240, 1152), m.CROSS_BLOCKS, r"transformer_blocks_#_ff_conv_inverted",
                r"blocks_#_mlp_inverted_conv.*", blocks=28,
            ),
            *marks(
                (2240,), r"blocks_#_attn_(?:qkv|proj)", r"blocks_#_cross_attn_(?:q_linear|kv_linear|proj)",
                blocks=28,
            ),
        ),
        pipeline="SanaPipeline", like=("pixart",),
    ),
    Architecture(
        "krea2", "Krea 2", ("krea2",),
        (
            *marks((6144,), r"blocks_#_attn_(?:w[qkvo]|gate)", r"blocks_#_mlp_(?:up|gate)", blocks=28),
            *marks((16384,), r"blocks_#_mlp_down", r"transformer_blocks_#_ff_down", blocks=28),
            *marks(
                (6144,), r"transformer_blocks_#_attn_(?:to_q|to_out_0|to_gate)",
                r"transformer_blocks_#_ff_(?:up|gate)", blocks=28,
            ),
            *marks((6144,), r"transformer_blocks_#_attn_to_[kv]", blocks=28, rows=(1536,)),
        ),
        pipeline="Krea2Pipeline",
    ),
    Architecture(
        "anima", "Anima", ("anima",),
        (*m.COSMOS, *marks((1024, 2048, 3072), r"te_layers_#_.*", blocks=28), *marks((), r"llm_adapter_.*")),
    ),
    Architecture(
        "cosmos", "Cosmos Predict", ("cosmos",),
        (
            *m.COSMOS, *marks((1024,), r"transformer_blocks_#_attn2_to_[kv]", blocks=36),
            *marks((4096, 5120), r"transformer_blocks_#_attn1_(?:to_[qkv]|to_out_0)", blocks=36),
            *marks((4096, 5120), r"transformer_blocks_#_attn2_to_(?:q|out_0)", blocks=36),
        ),
        pipeline="Cosmos2TextToImagePipeline", like=("anima",),
    ),
    Architecture(
        "wan", "Wan", (
            "wan",
        ), (*m.WAN_1B, *m.WAN_5B, *m.WAN_14B, *marks((8960, 14336, 13824), r"blocks_#_ffn_(?:2|net_2)")),
        pipeline="WanPipeline",
        lineages=(
            Lineage("1.3b", ("wan2113b", "wanvideo13b"), m.WAN_1B),
            Lineage("5b", ("wan225b", "wanvideo22ti2v5b"), m.WAN_5B),
            Lineage("14b", ("wan2114b", "wan2214b", "wanvideo14b"), m.WAN_14B),
        ),
    ),
    Architecture(
        "ltx", "LTX-Video", ("ltx", "lightricksltx"),
        (
            *marks((2048,), m.CROSS_BLOCKS, r"transformer_blocks_#_ff_net_0_proj", blocks=28),
            *marks((4096,), m.CROSS_BLOCKS, r"transformer_blocks_#_ff_net_0_proj", blocks=48),
            *marks(
                (2048, 4096), r"transformer_blocks_#_(?:audio_attn[12]|audio_to_video_attn|video_to_audio_attn)_.*",
                blocks=48,
            ),
            *marks((2048,), r"transformer_blocks_#_audio_ff_net_0_proj", blocks=48),
        ),
        pipeline="LTXPipeline",
        lineages=(
            Lineage(
                "ltx-2", ("ltx2", "ltxv2", "ltxvideo2"),
                marks((), r"transformer_blocks_#_(?:audio_|video_to_audio).*"),
            ),
        ),
    ),
    Architecture(
        "mochi", "Mochi 1", ("mochi",),
        (
            *marks((3072,), r"transformer_blocks_#_attn1_(?:to_[qkv]|to_out_0)", blocks=48),
            *marks((1536,), r"transformer_blocks_#_attn1_add_[qkv]_proj", blocks=48),
            *marks((3072,), r"transformer_blocks_#_attn1_to_add_out", r"transformer_blocks_#_ff_net_0_proj", blocks=48),
            *marks((1536,), r"transformer_blocks_#_ff_context_net_0_proj", blocks=48),
            *marks((), r"blocks_#_attn_(?:qkv_[xy]|proj_[xy])", blocks=48),
        ),
        pipeline="MochiPipeline",
    ),
    Architecture(
        "cogvideo", "CogVideoX", ("cogvideo",),
        marks(
            (1920, 3072), r"transformer_blocks_#_attn1_(?:to_[qkv]|to_out_0)", r"transformer_blocks_#_ff_net_0_proj",
            blocks=42,
        ),
        pipeline="CogVideoXPipeline",
    ),
    Architecture(
        "hunyuan-dit", "HunyuanDiT", ("hunyuan1", "hunyuandit"),
        marks((1408, 1024, 768), r"blocks_#_attn[12]_(?:Wqkv|q_proj|kv_proj|out_proj|to_[qkv]|to_out_0)", blocks=40),
        text_encoders=_TWO_CLIPS, pipeline="HunyuanDiTPipeline",
    ),
    Architecture(
        "miniature", "miniature", ("miniature",), (), denoiser="unet", text_encoders=_TWO_CLIPS,
        pipeline="StableDiffusionXLPipeline", original=True, generator=_DIFFUSION, proven=True,
    ),
)  # fmt: skip
"""Every architecture that is known by name. The order is that of how many adapters people have, roughly."""
