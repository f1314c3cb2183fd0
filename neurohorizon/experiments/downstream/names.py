"""Names of the representations, targets and roles of downstream decoding, for jobs, tables and figures."""

LATENTS, RAW, NORMALISED = "latents", "raw_counts", "normalised_counts"
POYO, POYO_LATENTS = "poyo", "poyo_latents"
METHOD_ORDER = (LATENTS, NORMALISED, RAW, POYO_LATENTS, POYO)
"""Order of representations in tables and figures."""
METHOD_WORDS = {
    LATENTS: "NeuroHorizon's latents",
    NORMALISED: "counts over reference rates",
    RAW: "raw counts",
    POYO_LATENTS: "POYO's latents",
    POYO: "POYO itself",
}
TARGET_WORDS = {
    "choice": "choice",
    "reward": "reward",
    "stimulus_side": "stimulus side",
    "block": "block",
    "wheel_velocity": "wheel velocity",
    "wheel_speed": "wheel speed",
}
"""Order and words of the decoded targets."""
CLASS = "fitted"
"""Every decoder is fitted on labels of the session that it decodes."""
HELDOUT, TRAIN = "heldout", "train"
ROLES = (HELDOUT, TRAIN)
"""Roles of a session in the fold, as in the cohort table."""
ROLE_WORDS = {HELDOUT: "animals never seen in training", TRAIN: "training animals"}
