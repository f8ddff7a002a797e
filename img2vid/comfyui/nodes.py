"""ComfyUI's nodes that have counterparts here: their widgets and outputs, and the names of samplers and schedules."""

from collections.abc import Mapping

CONTROL = ""
"""Place of the widget that changes a seed after each run, which has no name."""

WIDGETS: Mapping[str, tuple[str, ...]] = {
    "ImageOnlyCheckpointLoader": ("ckpt_name",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "LoadImage": ("image", "upload"),
    "SVD_img2vid_Conditioning": (
        "width",
        "height",
        "video_frames",
        "motion_bucket_id",
        "fps",
        "augmentation_level",
    ),
    "VideoLinearCFGGuidance": ("min_cfg",),
    "VideoTriangleCFGGuidance": ("min_cfg",),
    "ModelSamplingContinuousEDM": ("sampling", "sigma_max", "sigma_min"),
    "KSampler": ("seed", CONTROL, "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise",
        "noise_seed",
        CONTROL,
        "steps",
        "cfg",
        "sampler_name",
        "scheduler",
        "start_at_step",
        "end_at_step",
        "return_with_leftover_noise",
    ),
    "SamplerCustom": ("add_noise", "noise_seed", CONTROL, "cfg"),
    "RandomNoise": ("noise_seed", CONTROL),
    "CFGGuider": ("cfg",),
    "KSamplerSelect": ("sampler_name",),
    "SamplerEulerAncestral": ("eta", "s_noise"),
    "SamplerDPMPP_2S_Ancestral": ("eta", "s_noise"),
    "SamplerDPMPP_2M_SDE": ("solver_type", "eta", "s_noise", "noise_device"),
    "SamplerLMS": ("order",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "KarrasScheduler": ("steps", "sigma_max", "sigma_min", "rho"),
    "AlignYourStepsScheduler": ("model_type", "steps", "denoise"),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeSDXL": (
        "width",
        "height",
        "crop_w",
        "crop_h",
        "target_width",
        "target_height",
        "text_g",
        "text_l",
    ),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "SaveAnimatedWEBP": ("filename_prefix", "fps", "lossless", "quality", "method"),
    "SaveAnimatedPNG": ("filename_prefix", "fps", "compress_level"),
    "SaveWEBM": ("filename_prefix", "codec", "fps", "crf"),
    "CreateVideo": ("fps",),
    "PrimitiveNode": ("value",),
    "PrimitiveInt": ("value",),
    "PrimitiveFloat": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
}
"""Names of the widgets of each node, in the order in which the page stores their values."""

OUTPUTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "ImageOnlyCheckpointLoader": (("MODEL", "MODEL"), ("CLIP_VISION", "CLIP_VISION"), ("VAE", "VAE")),
    "CheckpointLoaderSimple": (("MODEL", "MODEL"), ("CLIP", "CLIP"), ("VAE", "VAE")),
    "CLIPTextEncode": (("CONDITIONING", "CONDITIONING"),),
    "EmptyLatentImage": (("LATENT", "LATENT"),),
    "LoadImage": (("IMAGE", "IMAGE"), ("MASK", "MASK")),
    "SVD_img2vid_Conditioning": (
        ("positive", "CONDITIONING"),
        ("negative", "CONDITIONING"),
        ("latent", "LATENT"),
    ),
    "VideoLinearCFGGuidance": (("MODEL", "MODEL"),),
    "VideoTriangleCFGGuidance": (("MODEL", "MODEL"),),
    "KSampler": (("LATENT", "LATENT"),),
    "SamplerCustom": (("output", "LATENT"), ("denoised_output", "LATENT")),
    "KSamplerSelect": (("SAMPLER", "SAMPLER"),),
    "SamplerEulerAncestral": (("SAMPLER", "SAMPLER"),),
    "SamplerDPMPP_2S_Ancestral": (("SAMPLER", "SAMPLER"),),
    "SamplerDPMPP_2M_SDE": (("SAMPLER", "SAMPLER"),),
    "SamplerLMS": (("SAMPLER", "SAMPLER"),),
    "BasicScheduler": (("SIGMAS", "SIGMAS"),),
    "KarrasScheduler": (("SIGMAS", "SIGMAS"),),
    "AlignYourStepsScheduler": (("SIGMAS", "SIGMAS"),),
    "VAEDecode": (("IMAGE", "IMAGE"),),
    "SaveAnimatedWEBP": (),
}
"""Name and type of each output of the nodes that an export has."""

SAMPLERS: Mapping[str, str] = {
    "EulerEDMSampler": "euler",
    "HeunEDMSampler": "heun",
    "EulerAncestralSampler": "euler_ancestral",
    "DPMPP2SAncestralSampler": "dpmpp_2s_ancestral",
    "DPMPP2MSampler": "dpmpp_2m",
    "LinearMultistepSampler": "lms",
    "DPMPP2MSDESampler": "dpmpp_2m_sde",
    "ConsistencySampler": "lcm",
}
"""ComfyUI's names of the samplers that compute the same. Its UniPC has order 3 and other last noise levels."""

SAMPLER_NODES: Mapping[str, str] = {
    "EulerAncestralSampler": "SamplerEulerAncestral",
    "DPMPP2SAncestralSampler": "SamplerDPMPP_2S_Ancestral",
    "LinearMultistepSampler": "SamplerLMS",
    "DPMPP2MSDESampler": "SamplerDPMPP_2M_SDE",
}
"""Nodes of samplers with parameters."""

GUIDANCE_NODES: Mapping[str, str] = {
    "LinearPredictionGuider": "VideoLinearCFGGuidance",
    "TrianglePredictionGuider": "VideoTriangleCFGGuidance",
}

CONDITIONING = "SVD_img2vid_Conditioning"
