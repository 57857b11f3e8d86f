"""Pictures of forecasts and alignments: labelled data in, a native figure out."""
