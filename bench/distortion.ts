// tessera bench distortion: how long measuring takes, whether `linear` ranks as `exact` does, and what accuracy the chosen patches keep.
