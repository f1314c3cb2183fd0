# What all decoding of behaviour shares.
# every decoder has the spikes that the encoder hears; a longer context is for a unit's own history
DECODED_TIMELINE = CONFIG.timeline.model_copy(update={"context_bins": CONFIG.model.heard_bins})
# what POYO makes of other contexts of a new session is read by the probes of downstream decoding
POYO_IS_PROBED = bool(CONFIG.downstream and CONFIG.poyo and CONFIG.downstream.source == CONFIG.poyo.source)
