"""ST-Trans: spatio-temporal forecasting with attention that can be seen."""
